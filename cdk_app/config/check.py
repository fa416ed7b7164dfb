"""The check of one environment: every field by itself, then against one another, then the waivers.

Knows nothing of the CDK. What is allowed is in `rules`, in `contradictions` and beside the nested values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

from cdk_app import mistakes
from cdk_app.config import (
    caller_policies,
    contradictions,
    edge_options,
    principals,
    rules,
)
from cdk_app.config.caller_policies import CallerPolicies
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.config.environment import (
    WAIVABLE_IN_TEMPLATES,
    ConfigurationError,
    Environment,
    RequestPolicy,
    WaivableRule,
    Waiver,
)
from cdk_app.config.principals import Kind
from cdk_app.options import alarm_options, api_options
from cdk_app.options.alarm_options import AlarmOptions
from cdk_app.options.api_options import ApiOptions


def find(name: str, environments: object) -> Environment:
    """The environment of that name, checked. Raises ConfigurationError when there is none or it cannot be used."""
    if not isinstance(environments, tuple) or not all(isinstance(one, Environment) for one in environments):
        raise ConfigurationError("ENVIRONMENTS is no tuple of Environment(...); put a comma after each, also the last")
    names = [environment.name for environment in environments]
    for index, known in enumerate(names):
        if not isinstance(known, str):
            raise ConfigurationError(f"ENVIRONMENTS[{index}]: name is {known!r}; allowed: a name such as 'dev'")
        if known in names[:index]:
            raise ConfigurationError(f"ENVIRONMENTS[{index}]: name is {known!r}; allowed: each name once")
    if name not in names:
        raise ConfigurationError(f'unknown environment "{name}"; known: {", ".join(names)}')
    environment: Environment = environments[names.index(name)]
    check(environment)
    return environment


def check(environment: Environment) -> None:
    """Raise ConfigurationError with one line for each problem: environment, field, value, what is allowed.

    Fields are first judged one by one; only values that are allowed are held against one another.
    """
    problems = list(_single(environment)) or [*contradictions.lines(environment), *_waiver_problems(environment)]
    if problems:
        raise ConfigurationError("\n".join(f"{environment.name}: {problem}" for problem in problems))


def _single(environment: Environment) -> Iterator[str]:
    yield from mistakes.of(environment)
    yield from rules.problems(environment, rules.ENVIRONMENT)
    yield from principals.problems("invokers", environment.invokers, tuple(Kind))
    # One who writes its own event is named one by one, or as an account that answers for it.
    direct = (Kind.IDENTITY, Kind.ACCOUNT, Kind.REFERENCE)
    yield from principals.problems("direct_invokers", environment.direct_invokers, direct)
    yield from caller_policies.price_problems(environment.prices)
    for field, (kind, problems) in _NESTED.items():
        value = getattr(environment, field)
        if isinstance(value, kind):
            yield from problems(value)
        elif value is None and field in _OPTIONAL:
            continue
        else:
            yield f"{field} is {value!r}; allowed: {kind.__name__}(...)"
    if isinstance(environment.waivers, tuple) and all(isinstance(waiver, Waiver) for waiver in environment.waivers):
        for waiver in environment.waivers:
            yield from mistakes.of(waiver, "waivers: ")
    else:
        yield f"waivers is {environment.waivers!r}; allowed: a tuple, such as (Waiver(rule=..., reason=...),)"


def _request_problems(requests: RequestPolicy) -> Iterator[str]:
    yield from mistakes.of(requests, "requests.")
    yield from rules.problems(requests, rules.REQUESTS, "requests.")


def _edge_problems(options: EdgeOptions) -> Iterator[str]:
    return (f"edge_options.{problem}" for problem in edge_options.problems(options))


def _api_problems(options: ApiOptions) -> Iterator[str]:
    return (f"api.{problem}" for problem in api_options.problems(options))


def _alarm_problems(options: AlarmOptions) -> Iterator[str]:
    return (f"alarms.{problem}" for problem in alarm_options.problems(options))


# Fields that are values of their own: what they have to be, and what is wrong inside.
_NESTED: dict[str, tuple[type, Callable[[Any], Iterator[str]]]] = {
    "requests": (RequestPolicy, _request_problems),
    "callers": (CallerPolicies, caller_policies.problems),
    "edge_options": (EdgeOptions, _edge_problems),
    "api": (ApiOptions, _api_problems),
    "alarms": (AlarmOptions, _alarm_problems),
}
_OPTIONAL = ("api",)


def _waiver_problems(environment: Environment) -> Iterator[str]:
    needed = {rule: text for rule, text in contradictions.waivable(environment).items() if text}
    given = {waiver.rule: waiver.reason for waiver in environment.waivers}
    for rule, reason in given.items():
        if rule not in get_args(WaivableRule):
            yield f"waivers has {rule!r}; allowed: {', '.join(get_args(WaivableRule))}"
        elif rule not in needed and rule not in WAIVABLE_IN_TEMPLATES:
            yield f"waivers has {rule!r}, which nothing needs; allowed: only waivers in use"
        elif not isinstance(reason, str) or len(reason.split()) < 3:
            yield f"waivers has {rule!r} with the reason {reason!r}; allowed: a reason in a sentence"
    for waivable, text in needed.items():
        if waivable not in given:
            yield f"{text}, or Waiver(rule={waivable!r}, reason=...)"
