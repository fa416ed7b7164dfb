"""What may differ between environments, as typed values, and their check. Knows nothing of the CDK.

The values themselves are in `environments.py`. Nothing here reads a file, the process environment or AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any, Literal, get_args

from cdk_app.config import alarm_options, caller_policies, contradictions, edge_options, mistakes, rules
from cdk_app.config.alarm_options import AlarmOptions
from cdk_app.config.caller_policies import CallerPolicies, Prices
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.config.rules import EdgeMode, LogLevel, LogRetentionDays, SettleFailure

# What is seen in the templates, and what in the values themselves.
WaivableInTemplates = Literal["unsigned-calls", "wildcard-principal", "wildcard-cors", "missing-permission"]
WaivableRule = Literal["no-concurrency-cap", "slow-heartbeat", "unpriced-model", WaivableInTemplates]
WAIVABLE_IN_TEMPLATES: tuple[str, ...] = get_args(WaivableInTemplates)


class ConfigurationError(Exception):
    """The configuration cannot be used. The text has one line per problem and names field, value and what is allowed."""


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver(mistakes.Noted):
    """A guard that does not apply to an environment, with the reason. An unneeded waiver is itself a problem."""

    rule: WaivableRule
    reason: str


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPolicy(mistakes.Noted):
    """What requests may ask OpenAI for, whoever makes them."""

    # Exactly as OpenAI spells them; () allows every model that the key may use.
    models: tuple[str, ...] = ()
    # Tokens. The most that one response may be long; larger wishes are lowered to it, and it is set where a request
    # sets none.
    max_output_tokens: int = 16_384
    # The most choices (`n`) of one request; each is billed.
    max_choices: int = 4
    # True lets callers read and write what is stored at OpenAI. All callers share one key, so each can read what any
    # other has stored there.
    stateful: bool = False
    # Types of tools. What OpenAI runs itself (web_search, file_search, code_interpreter, mcp ...) costs extra.
    tools: tuple[str, ...] = ("function", "custom")
    service_tiers: tuple[str, ...] = ("auto", "default")


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(mistakes.Noted):
    """One deployment of the relay. A field without a default has no value that is right for everybody."""

    # Begins the names of stacks and alarms, and is what ENV=... names.
    name: str

    # Where. None: the account and region of whoever deploys, so that synth needs neither.
    account: str | None = None
    region: str | None = None

    # Who may call: roles, users or whole accounts that may sign requests to the Function URL. Administrators of the
    # relay's own account may in any case, through their own policies. Some 25 ARNs fit; accounts are for more.
    invokers: tuple[str, ...] = ()
    # Who may call the function itself, past the URL. Such a caller writes its own event and can claim to be anybody.
    direct_invokers: tuple[str, ...] = ()

    # The function. Memory in MB buys CPU: 1,769 MB is one full vCPU. Seconds that one invocation may take.
    memory_mb: int = 512
    timeout_seconds: int = 300
    # How many responses may stream at once; the hard cap on what all callers together can cost. None needs a waiver.
    # An account keeps 100 unreserved, so that in a new one, which has 10 in all, every reservation fails to deploy.
    reserved_concurrency: int | None
    # The relay's own lines; records of requests are written at every level.
    log_level: LogLevel = "INFO"
    log_retention_days: LogRetentionDays

    # OpenAI. None creates an empty secret for the key; a name or ARN uses one that exists in Secrets Manager, in the
    # environment's own region.
    openai_base_url: str = "https://api.openai.com/v1"
    openai_secret: str | None = None
    # Only when that secret is encrypted with a KMS key of your own.
    openai_secret_kms_key: str | None = None

    # What requests may ask for.
    requests: RequestPolicy = RequestPolicy()
    # Bytes of the largest request body. A Function URL takes 6 MB, of which base64 leaves 4.5 MB for what is not text.
    max_body_bytes: int = 6_000_000
    # Seconds. A streamed response that is silent for this long gets a comment that no client sees, so that nothing
    # between takes it for dead; also the longest wait for a real error status. 0 sends none.
    heartbeat_seconds: float = 10
    # Seconds before the time-out at which a stream is ended with an error that clients understand.
    deadline_reserve_seconds: float = rules.DEFAULT_DEADLINE_RESERVE_SECONDS

    # What each caller may use and spend.
    callers: CallerPolicies = made_by(default_factory=CallerPolicies)
    # US dollars for a million tokens, of models that differ from the relay's own list.
    prices: Prices = made_by(default_factory=dict)
    # When the store does not take what a request came to: "keep" its upper bound booked, or "retry" after the next one.
    settle_failure: SettleFailure = "keep"
    # Days for which the record of each request is kept.
    usage_days: int = 400

    # CloudFront and WAF in front of the Function URL: "required" refuses whoever comes past them, "optional" lets both
    # ways in, "off" builds neither. With an edge, `region` has to be set: the edge is in us-east-1 and has to know.
    edge: EdgeMode = "off"
    edge_options: EdgeOptions = made_by(default_factory=EdgeOptions)

    # "on" builds the dashboard and the alarms; `alarms` has their thresholds, addresses and the kill switch.
    monitoring: Literal["on", "off"] = "on"
    alarms: AlarmOptions = made_by(default_factory=AlarmOptions)

    # What happens to logs, usage and key when the stack is destroyed.
    on_destroy: Literal["delete", "keep"] = "keep"

    waivers: tuple[Waiver, ...] = ()


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
    for field in ("invokers", "direct_invokers"):
        yield from rules.principal_problems(field, getattr(environment, field))
    yield from caller_policies.price_problems(environment.prices)
    for field, (kind, problems) in _NESTED.items():
        value = getattr(environment, field)
        if isinstance(value, kind):
            yield from problems(value)
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


def _alarm_problems(options: AlarmOptions) -> Iterator[str]:
    return (f"alarms.{problem}" for problem in alarm_options.problems(options))


# Fields that are values of their own: what they have to be, and what is wrong inside.
_NESTED: dict[str, tuple[type, Callable[[Any], Iterator[str]]]] = {
    "requests": (RequestPolicy, _request_problems),
    "callers": (CallerPolicies, caller_policies.problems),
    "edge_options": (EdgeOptions, _edge_problems),
    "alarms": (AlarmOptions, _alarm_problems),
}


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
