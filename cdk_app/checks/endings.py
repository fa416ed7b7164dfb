"""Models that an environment allows and OpenAI soon ends, by the price list. Knows nothing of the CDK, and no clock.

Said at synth and deploy as a warning and never as a problem: what was right yesterday must not fail today.
"""

from __future__ import annotations

from datetime import date, timedelta

from cdk_app.config import caller_policies
from cdk_app.config.caller_policies import CallerPolicy
from cdk_app.config.environment import Environment

SOON = timedelta(days=30)
_MOST_NAMED = 5


def warning(environment: Environment, today: date) -> str:
    """One line about the models that callers may use and that end within 30 days, or have ended; "" for none."""
    named = _named(environment)
    models = caller_policies.endings(named, environment.prices)
    soon = sorted((day, model) for model, day in models.items() if day - today <= SOON)
    if not soon:
        return ""
    listed = ", ".join(f"{model} ({'ends' if day > today else 'ended'} {day})" for day, model in soon[:_MOST_NAMED])
    more = f" and {len(soon) - _MOST_NAMED} more" if len(soon) > _MOST_NAMED else ""
    if named is None:
        return f"{environment.name}: every model is allowed, also {listed}{more}: `operate prices` shows who uses them"
    return f"{environment.name}: models that end are allowed: {listed}{more}: name their successors (requests.models, callers)"


def _named(environment: Environment) -> set[str] | None:
    """All models that some caller may use; None when one may use every model."""
    everywhere = environment.requests.models
    allowed: set[str] = set()
    for policy in (environment.callers.default, *environment.callers.rules.values()):
        if isinstance(policy, CallerPolicy):
            own = policy.models or everywhere
            if not own:
                return None
            allowed |= {model for model in own if not everywhere or model in everywhere}
    return allowed
