"""Who may do what: the policies of an environment, and which of them is a caller's. Pure.

A policy is found by what AWS verified of a caller and never by what the caller can choose: neither a session name
nor a header takes part. What is found here are figures; whether they hold is for the ledger to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from relay.accounts.limit_kinds import LimitKind, Limits
from relay.frozen import EMPTY, Frozen
from relay.models import Caller

LEAST_OUTPUT_CAP = 16
"""The least that OpenAI takes for `max_output_tokens`. A smaller cap would make every request to /v1/responses a 400.
Source: platform.openai.com/docs/api-reference/responses/create."""


class Terms(Frozen):
    """The limits of one account. `limits` are those that refuse. `observed` are the figures, by kind, of those that are
    counted, logged and shown, and never refuse. `warn_at` is the share of a day's or a month's limit that is warned of, in
    1e-12; 0 for none."""

    limits: Limits = Limits()
    observed: Mapping[str, int] = EMPTY
    warn_at: int = 0

    def figure(self, kind: LimitKind) -> int | None:
        """The figure of one kind, whether it refuses or not."""
        return self.observed.get(kind.name, self.limits.of(kind))


class Group(Terms):
    """A team: what all its members together may use and spend, beside what each of them may."""

    name: str


class Policy(Terms):
    """What one caller may do. `models` None means every model that the environment allows.

    `labels` are what its requests are booked under for reports, by name, the group's included; `label_text` is how they are
    stored ("project=atlas,team=search").
    """

    name: str = "default"
    models: frozenset[str] | None = None
    output_cap: int | None = None
    labels: Mapping[str, str] = EMPTY
    label_text: str = ""
    group: Group | None = None

    def allows(self, model: str) -> bool:
        """Whether the caller may use `model`, spelt exactly as configured."""
        return self.models is None or model in self.models

    @property
    def watched(self) -> bool:
        """Whether the caller or its group has limits that are observed or warned of."""
        return any(terms.observed or terms.warn_at for terms in (self, self.group) if terms)

    @property
    def in_tokens(self) -> bool:
        """Whether a bound in tokens has to be known: of the caller's limits, or of its group's, needs it."""
        return self.limits.in_tokens or (self.group is not None and self.group.limits.in_tokens)

    @property
    def in_usd(self) -> bool:
        """Whether a bound in money has to be known."""
        return self.limits.in_usd or (self.group is not None and self.group.limits.in_usd)


class Policies(Frozen):
    """All policies of an environment: the first rule that matches a caller counts, else the default; None refuses."""

    rules: tuple[tuple[str, Policy | None], ...] = ()
    default: Policy | None = Policy()

    def of(self, caller: Caller) -> Policy | None:
        """The policy of `caller`, or None when it is to be refused."""
        name = subject(caller)
        kind = kind_of(name)
        # Kinds are kept apart: whoever chooses the subject of a token must not match a pattern that was meant for a role.
        return next(
            (policy for pattern, policy in self.rules if kind_of(pattern) == kind and fnmatchcase(name, pattern)),
            self.default,
        )


def kind_of(name: str) -> str:
    """Of callers or of a pattern for them: "key", "oidc", or "" for IAM principals."""
    kind = name.partition(":")[0]
    return kind if kind in ("key", "oidc") else ""


def subject(caller: Caller) -> str:
    """What patterns are matched against and operators are shown: "123456789012:role/ci-deploy", "key:ci-bot".

    Session and federation names are left out: whoever assumes the role or asks for the token chooses them. A
    user's path is kept. Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html.
    """
    if kind_of(caller.arn):
        return caller.arn
    parts = caller.arn.split(":", 5)
    resource = parts[5] if len(parts) == 6 else ""
    kind, _, name = resource.partition("/")
    match kind:
        case "assumed-role":
            return f"{caller.account}:role/{name.partition('/')[0]}"
        case "user":
            return f"{caller.account}:user/{name}"
        case "root" | "federated-user":
            return f"{caller.account}:{kind}"
    return f"{caller.account}:other"
