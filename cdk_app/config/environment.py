"""What may differ between environments, as typed values; `check` judges them. Knows nothing of the CDK.

The values themselves are in `environments.py`. Nothing here reads a file, the process environment or AWS.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Literal, get_args

from cdk_app import mistakes
from cdk_app.config import rules
from cdk_app.config.caller_policies import CallerPolicies, Prices
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.config.rules import EdgeMode, LogLevel, LogRetentionDays, SettleFailure
from cdk_app.options.alarm_options import AlarmOptions
from cdk_app.options.api_options import ApiOptions

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


# What coding agents bring that runs on their own machine and nowhere else. Beside it Codex wants "namespace", in which it
# groups its tools; "web_search" and all that OpenAI runs are an environment's own choice.
AGENT_TOOLS = ("function", "custom", "apply_patch", "local_shell", "shell:local", "tool_search:client")


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
    # Types of tools; AGENT_TOOLS for coding agents. What OpenAI runs itself (web_search, file_search, code_interpreter,
    # mcp, "shell" without ":local" ...) costs extra.
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

    # Who may call: roles, users, whole accounts ("123456789012") or organisations ("o-a1b2c3d4e5") that may sign requests
    # to the Function URL; ARNs may be the CDK's tokens. Roles and users of `account` get the managed policy of the
    # stack, as many as there are; others take room in the function's own policy, some 25 of them. Whoever has that
    # policy (output CallerPolicyArn) or may do as much by one of its own may call without being named here.
    invokers: tuple[str, ...] = ()
    # Who may call the function itself, past the URL. Such a caller writes its own event and can claim to be anybody.
    direct_invokers: tuple[str, ...] = ()

    # The function. Memory in MB buys CPU, 1,769 MB being one full vCPU, and is most of what a response costs while it
    # waits for OpenAI. 256 streams as more does; 128 is half of that, and 10 to 20 ms later: docs/performance.md.
    memory_mb: int = 256
    # Seconds that one invocation may take.
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

    # API Gateway in front of the function, for clients that know only a base URL and a key or an SSO token; None builds none.
    api: ApiOptions | None = None

    # "on" builds the dashboard and the alarms; `alarms` has their thresholds, addresses and the spend watch.
    monitoring: Literal["on", "off"] = "on"
    alarms: AlarmOptions = made_by(default_factory=AlarmOptions)

    # What happens to logs, usage and key when the stack is destroyed.
    on_destroy: Literal["delete", "keep"] = "keep"

    waivers: tuple[Waiver, ...] = ()

    @property
    def reserved_in_all(self) -> int | None:
        """What its functions reserve of the account's concurrency together; None where none is reserved."""
        if self.reserved_concurrency is None:
            return None
        has_keys = self.api is not None and self.api.keys
        return self.reserved_concurrency + (self.api.authorizer_concurrency if self.api and has_keys else 0)
