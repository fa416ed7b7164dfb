"""Amazon States Language with JSONata as far as this project's machine uses it: docs.aws.amazon.com/step-functions, pages
"Transforming data" and "Passing data between states with variables". Nothing here is AWS's code.

A task is what `call` makes of it. A failing task is repeated as its Retry says, without waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jsonata

Call = Callable[[str, Mapping[str, Any]], Any]
"""(service:action, arguments) -> result."""

MOST_STATES = 1000


class StateMachine:
    def __init__(self, definition: Mapping[str, Any], call: Call) -> None:
        assert definition["QueryLanguage"] == "JSONata"
        self._definition = definition
        self._call = call

    def run(self, started: str, given: Mapping[str, Any]) -> Any:
        """The output of an execution that starts at `started`, such as "2026-11-27T23:59:30.000Z". Raises what a task does."""
        variables: dict[str, Any] = {}
        name, value = self._definition["StartAt"], dict(given)
        context = {"Execution": {"StartTime": started}}
        # Time does not pass here: what goes round in circles would end by its TimeoutSeconds.
        for _ in range(MOST_STATES):
            state = self._definition["States"][name]
            states: dict[str, Any] = {"input": value, "context": context}
            if state["Type"] == "Choice":
                chosen = (one["Next"] for one in state["Choices"] if self._true(one["Condition"], variables, states))
                name = next(chosen, state["Default"])
                continue
            if state["Type"] == "Task":
                arguments = self._evaluated(state["Arguments"], variables, states)
                states["result"] = self._attempts(state, arguments)
            # Output and Assign see the variables as they were before: both are evaluated, then the new ones hold.
            assigned = self._evaluated(state.get("Assign", {}), variables, states)
            value = self._evaluated(state["Output"], variables, states) if "Output" in state else value
            variables |= assigned
            if state.get("End"):
                return value
            name = state["Next"]
        raise TimeoutError("States.Timeout")

    def _attempts(self, state: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        most = sum(retry.get("MaxAttempts", 3) for retry in state.get("Retry", []))
        action = state["Resource"].partition(":states:::aws-sdk:")[2]
        for attempt in range(most + 1):
            try:
                return self._call(action, arguments)
            except Exception:
                if attempt == most:
                    raise
        raise AssertionError("unreachable")

    def _true(self, condition: str, variables: Mapping[str, Any], states: Mapping[str, Any]) -> bool:
        found = self._evaluated(condition, variables, states)
        assert isinstance(found, bool), "Step Functions takes nothing but a boolean for a condition"
        return found

    def _evaluated(self, value: Any, variables: Mapping[str, Any], states: Mapping[str, Any]) -> Any:
        if isinstance(value, dict):
            return {key: self._evaluated(inner, variables, states) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._evaluated(inner, variables, states) for inner in value]
        if not (isinstance(value, str) and value.startswith("{%") and value.endswith("%}")):
            return value
        expression = jsonata.Jsonata.jsonata(value[2:-2].strip())
        frame = expression.create_frame()
        for name, bound in {**variables, "states": states}.items():
            frame.bind(name, bound)
        found = expression.evaluate(None, frame)
        assert found is not None, f"Step Functions fails where an expression gives nothing: {value}"
        return found
