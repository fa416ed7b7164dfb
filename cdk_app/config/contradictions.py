"""What fields that are each allowed must not say to one another. Knows nothing of the CDK.

A limit that another one makes pointless is a mistake that nobody sees before a caller meets it: WAF that refuses what
the relay allows, a budget that no request fits into, a deadline that leaves no time. Each line names both and the cure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from cdk_app.config import caller_policies, rules
from cdk_app.config.caller_policies import CallerPolicy
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.config.environment import Environment
from cdk_app.config.terms import LABELS_LENGTH, MOST_LABELS, Terms, too_many_labels
from cdk_app.options import api_options
from cdk_app.options.alarm_options import AlarmOptions
from cdk_app.options.api_options import ApiOptions

# The relay counts by the clock's minutes, and six of them touch WAF's five: a caller may send six minutes' requests in
# one window. A quarter more is for requests that the relay itself refuses, and for those it does not count.
RATE_WINDOWS = 6
RATE_MARGIN = 1.25
# Callers behind one address (a NAT) that WAF has to let through at their full rate.
SESSIONS_PER_ADDRESS = 2
# The relay never takes more of an invocation's time than this share, whatever deadline_reserve_seconds says.
RESERVE_SHARE = 5


def lines(environment: Environment) -> Iterator[str]:
    """One for each contradiction. Every single field has to be allowed already."""
    yield from _times(environment)
    yield from _secret(environment)
    yield from _edge(environment)
    for place, policy in policies(environment).items():
        yield from (f"callers.{place}.{line}" for line in _caller(policy, environment))
        yield from (f"callers.{place}.{line}" for line in _member(policy, environment))
    for name, group in environment.callers.groups.items():
        yield from (f"callers.groups[{name!r}].{line}" for line in _account(group, environment, _longest(environment)))
    yield from _groups(environment)
    yield from _unreachable(environment)
    yield from _alarms(environment)
    yield from _api(environment)


def waivable(environment: Environment) -> dict[str, str]:
    """What each rule that can be waived has to say about the values; "" when it has nothing."""
    unpriced = ", ".join(caller_policies.unpriced(environment.callers, environment.requests.models, environment.prices))
    cap = "reserved_concurrency is None; allowed: a whole number"
    price = f"{unpriced}: no price, so a budget refuses it; allowed: models with a price (prices=...)"
    return {
        "no-concurrency-cap": cap if environment.reserved_concurrency is None else "",
        "slow-heartbeat": _slow_heartbeat(environment),
        "unpriced-model": price if unpriced else "",
    }


def policies(environment: Environment) -> dict[str, CallerPolicy]:
    """All that do not refuse, by their place: "default" or "rules['123456789012:role/ci-*']"."""
    every = {"default": environment.callers.default}
    every |= {f"rules[{pattern!r}]": rule for pattern, rule in environment.callers.rules.items()}
    return {place: policy for place, policy in every.items() if isinstance(policy, CallerPolicy)}


def _times(environment: Environment) -> Iterator[str]:
    reserve, timeout = environment.deadline_reserve_seconds, environment.timeout_seconds
    most = max(rules.DEFAULT_DEADLINE_RESERVE_SECONDS, timeout // RESERVE_SHARE)
    if reserve > most:
        yield f"deadline_reserve_seconds is {reserve}; allowed: at most {most}, a fifth of timeout_seconds ({timeout})"
    if environment.heartbeat_seconds > timeout:
        yield f"heartbeat_seconds is {environment.heartbeat_seconds}; allowed: at most timeout_seconds ({timeout})"


def _slow_heartbeat(environment: Environment) -> str:
    """CloudFront gives up when nothing comes for as long as its read timeout: two heartbeats have to fit into that."""
    beat, limit = environment.heartbeat_seconds, environment.edge_options.read_timeout_seconds
    if environment.edge == "off" or 0 < beat <= limit / 2:
        return ""
    return f"heartbeat_seconds is {beat}; allowed: 1 to {limit // 2}, half of edge_options.read_timeout_seconds"


def _secret(environment: Environment) -> Iterator[str]:
    """Secrets Manager and KMS serve the relay in its own region only."""
    if environment.openai_secret_kms_key is not None and environment.openai_secret is None:
        yield "openai_secret_kms_key is set; allowed: only beside openai_secret, the existing secret that it encrypts"
    for field in ("openai_secret", "openai_secret_kms_key"):
        parts = (getattr(environment, field) or "").split(":")
        if environment.region and parts[0] == "arn" and parts[3] != environment.region:
            yield f"{field} is in {parts[3]}; allowed: one in {environment.region}, the environment's region"


def _edge(environment: Environment) -> Iterator[str]:
    if environment.edge == "off":
        return
    # CloudFront and its web ACLs are one service for all regions of this partition, and not there in the others.
    if (environment.region or "cn-").startswith(("cn-", "us-gov-", "us-iso")):
        yield f"region is {environment.region!r}; allowed: with an edge, a region such as 'eu-central-1'"
    if environment.edge == "required" and environment.direct_invokers:
        yield "direct_invokers must be empty when edge='required': direct calls bypass the edge"
    callers = policies(environment).values()
    yield from _rates("edge_options", "requests_per_session", environment.edge_options, callers)


def _rates(
    place: str, per_caller: str, options: EdgeOptions | ApiOptions, callers: Iterable[CallerPolicy | str]
) -> Iterator[str]:
    """WAF has to let through what the relay allows: callers get 429 with a reason from the relay, and none from WAF."""
    fastest = max((each.requests_per_minute or 0 for each in callers if isinstance(each, CallerPolicy)), default=0)
    least, given = math.ceil(fastest * RATE_WINDOWS * RATE_MARGIN), getattr(options, per_caller)
    if given < least:
        yield (
            f"{place}.{per_caller} is {given}; allowed: at least {least}, "
            f"because a caller may make {fastest} requests a minute (callers: requests_per_minute)"
        )
    address = SESSIONS_PER_ADDRESS * max(least, given)
    if options.requests_per_ip < address:
        yield (
            f"{place}.requests_per_ip is {options.requests_per_ip}; allowed: at least {address}, "
            f"{SESSIONS_PER_ADDRESS} callers behind one address ({per_caller})"
        )


def _caller(policy: CallerPolicy, environment: Environment) -> Iterator[str]:
    longest = _longest(environment)
    if policy.output_cap is not None and policy.output_cap > longest:
        yield f"output_cap is {policy.output_cap}; allowed: at most {longest}, requests.max_output_tokens"
    response = min(policy.output_cap or longest, longest)
    yield from _account(policy, environment, response)
    yield from _budgets(policy, environment, response)


def _longest(environment: Environment) -> int:
    return environment.requests.max_output_tokens


def _account(terms: Terms, environment: Environment, response: int) -> Iterator[str]:
    """What holds for a caller and for a group alike. `response`: tokens of one response at most."""
    cap = environment.reserved_concurrency
    if terms.concurrent is not None and cap and terms.concurrent > cap:
        yield f"concurrent is {terms.concurrent}; allowed: at most {cap}, reserved_concurrency, which all callers share"
    if terms.tokens_per_day is not None and terms.tokens_per_day <= response:
        yield (
            f"tokens_per_day is {terms.tokens_per_day}; allowed: more than {response}, what one response may take "
            "(lower output_cap or requests.max_output_tokens)"
        )
    day, month = caller_policies.dollars(terms.usd_per_day), caller_policies.dollars(terms.usd_per_month)
    if day is not None and month is not None and month < day:
        yield f"usd_per_month is {terms.usd_per_month!r}; allowed: at least usd_per_day, {terms.usd_per_day!r}"


def _member(policy: CallerPolicy, environment: Environment) -> Iterator[str]:
    group = environment.callers.groups.get(policy.group or "")
    if policy.group is not None and group is None:
        known = ", ".join(environment.callers.groups) or "none"
        yield f"group is {policy.group!r}; allowed: the name of a group in callers.groups ({known}), or None"
    if group is not None and too_many_labels({**group.labels, **policy.labels}):
        yield f"labels and its group's are too many; allowed: {MOST_LABELS} with {LABELS_LENGTH} characters together"


def _groups(environment: Environment) -> Iterator[str]:
    named = {policy.group for policy in policies(environment).values()}
    for name in environment.callers.groups:
        if name not in named:
            yield f"callers.groups has {name!r}, which no rule names; allowed: groups in use (group={name!r})"


def _budgets(policy: CallerPolicy, environment: Environment, response: int) -> Iterator[str]:
    day, month = caller_policies.dollars(policy.usd_per_day), caller_policies.dollars(policy.usd_per_month)
    models = policy.models or environment.requests.models
    least = caller_policies.least_cost(models, response, environment.prices) if models else None
    for field, budget in (("usd_per_day", day), ("usd_per_month", month)):
        # 0 is meant: such a caller is to spend nothing.
        if budget and least is not None and budget < least:
            yield (
                f"{field} is {getattr(policy, field)!r}; allowed: at least {least:f}, what a response of {response} "
                "tokens costs at least (lower output_cap)"
            )


def _unreachable(environment: Environment) -> Iterator[str]:
    """Rules are tried in their order: one that is wholly covered by an earlier one is never used."""
    patterns = list(environment.callers.rules)
    for index, pattern in enumerate(patterns):
        same = [each for each in patterns[:index] if _kind_of(each) == _kind_of(pattern)]
        before = (earlier for earlier in same if "?" not in earlier and fnmatchcase(pattern, earlier))
        for earlier in before:
            yield f"callers.rules has {pattern!r} after {earlier!r}, which matches first; put it before"
            break


def _alarms(environment: Environment) -> Iterator[str]:
    alarms = environment.alarms
    if environment.monitoring == "off" and alarms != AlarmOptions():
        yield "alarms is set; allowed: only with monitoring='on', which builds them"
    stop = alarms.stop_at_usd_per_day
    if stop is None:
        return
    if alarms.usd_per_day is not None and alarms.usd_per_day > stop:
        yield f"alarms.usd_per_day is {alarms.usd_per_day}; allowed: at most stop_at_usd_per_day, {stop}"
    groups = {f"groups[{name!r}]": group for name, group in environment.callers.groups.items()}
    for place, terms in {**policies(environment), **groups}.items():
        day = caller_policies.dollars(terms.usd_per_day)
        if day is not None and day > stop:
            who = "one group" if place in groups else "one caller"
            yield (
                f"alarms.stop_at_usd_per_day is {stop}; allowed: at least {terms.usd_per_day}, which {who} may "
                f"spend (callers.{place}.usd_per_day)"
            )


def _api(environment: Environment) -> Iterator[str]:
    if environment.api is not None:
        callers = environment.callers
        of_bearers = {"default": callers.default}
        of_bearers |= {f"rules[{each!r}]": rule for each, rule in callers.rules.items() if _kind_of(each)}
        unlimited = [
            place
            for place, policy in of_bearers.items()
            if isinstance(policy, CallerPolicy) and not _is_limited(environment, policy)
        ]
        yield from _rates("api", "requests_per_bearer", environment.api, of_bearers.values())
        yield from api_options.contradictions(environment.api, environment.region, unlimited)


def _kind_of(pattern: str) -> str:
    """Whom a pattern is for: "key", "oidc", or "" for IAM principals. The relay keeps these apart, too."""
    kind = pattern.partition(":")[0]
    return kind if kind in ("key", "oidc") else ""


def _is_limited(environment: Environment, policy: CallerPolicy) -> bool:
    """Whether its caller or the caller's group has a limit that refuses; one that is only observed does not."""
    names = ("usd_per_day", "usd_per_month", "tokens_per_day", "requests_per_minute")
    group = environment.callers.groups.get(policy.group) if policy.group else None
    limits = [(each, name) for each in (policy, group) if each for name in names]
    return any(getattr(each, name) is not None and name not in each.observe for each, name in limits)
