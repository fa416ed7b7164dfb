"""The templates as tests see them: every environment of the repository, and one that uses all there is to configure."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdk_app import environments
from cdk_app.config.caller_policies import CallerGroup, CallerPolicies, CallerPolicy
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.config.environment import Environment, RequestPolicy
from cdk_app.options.alarm_options import AlarmOptions
from cdk_app.options.api_options import ApiOptions, TokenIssuer

if TYPE_CHECKING:
    from cdk_app.stage import RelayStage

ROOT = Path(__file__).resolve().parent.parent.parent

# Beside the environments of the repository, which their users edit: one that uses everything there is to configure.
EVERYTHING = Environment(
    name="everything",
    account="123456789012",
    region="eu-central-1",
    invokers=(
        "arn:aws:iam::123456789012:role/service",
        "arn:aws:iam::123456789012:user/somebody",
        "210987654321",
        "arn:aws:iam::345678901234:root",
        "arn:aws:iam::456789012345:role/path/elsewhere",
        "o-a1b2c3d4e5",
        "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/eu-central-1/AWSReservedSSO_Dev_0123456789abcdef",
        "123456789012",
    ),
    direct_invokers=("arn:aws:iam::123456789012:role/batch",),
    memory_mb=256,
    timeout_seconds=900,
    reserved_concurrency=7,
    log_level="DEBUG",
    log_retention_days=1096,
    openai_base_url="https://eu.api.openai.com/v1",
    requests=RequestPolicy(models=("gpt-5", "gpt-5-mini"), max_output_tokens=4096, stateful=True, tools=("function",)),
    heartbeat_seconds=5,
    callers=CallerPolicies(
        default=CallerPolicy(
            models=("gpt-5-mini",),
            requests_per_minute=60,
            concurrent=5,
            tokens_per_day=1_000_000,
            usd_per_day=5,
            usd_per_month="99.5",
            output_cap=2048,
        ),
        rules={
            "123456789012:role/ci-*": CallerPolicy(models=("gpt-5-mini",), requests_per_minute=60, usd_per_day=50),
            "123456789012:role/atlas-*": CallerPolicy(
                models=("gpt-5-mini",),
                requests_per_minute=60,
                usd_per_day=5,
                output_cap=2048,
                observe=("usd_per_day",),
                group="atlas",
                labels={"project": "search"},
            ),
            "*:user/*": "refuse",
        },
        groups={
            "atlas": CallerGroup(
                usd_per_month=500,
                requests_per_minute=600,
                concurrent=7,
                warn_at=0.8,
                labels={"cost_center": "42", "project": "atlas"},
            )
        },
    ),
    prices={"gpt-5-mini": {"input": "0.25", "output": 2, "context": 400_000, "tiers": {"flex": {"input": 1}}}},
    settle_failure="retry",
    usage_days=90,
    openai_secret="shared/openai",
    openai_secret_kms_key="arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-1234-1234-123456789012",
    edge="optional",
    edge_options=EdgeOptions(
        domain="openai.example.com",
        certificate="arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012",
        requests_per_ip=1500,
        requests_per_session=600,
        networks=("203.0.113.0/24", "2001:db8::/32"),
        countries=("DE", "CH"),
        ai_rules="count",
        ai_guardrails_role="arn:aws:iam::123456789012:role/waf-guardrails",
        read_timeout_seconds=60,
        origin_secret_version=3,
    ),
    alarms=AlarmOptions(emails=("team@example.com",), usd_per_day=50, stop_at_usd_per_day=100),
    on_destroy="keep",
)


# What excludes something of the above.
FREE_PLAN = replace(
    EVERYTHING,
    name="free-plan",
    alarms=AlarmOptions(usd_per_day=50),
    edge_options=replace(EVERYTHING.edge_options, plan="free", ai_rules="off", ai_guardrails_role=None),
)
# An API beside the Function URL, with all that it may have; the smallest one that there is.
API = Environment(
    name="api",
    region="eu-central-1",
    reserved_concurrency=5,
    log_retention_days=7,
    monitoring="off",
    callers=CallerPolicies(
        default="refuse",
        rules={"key:ci-*": CallerPolicy(usd_per_day=5), "oidc:corp:*": CallerPolicy(requests_per_minute=20)},
    ),
    api=ApiOptions(
        tokens=(
            TokenIssuer(
                alias="corp",
                issuer="https://id.example.com/",
                audiences=("relay",),
                claim="sub",
                required_claims={"department": "research", "email": ""},
            ),
            TokenIssuer(alias="ci", issuer="https://token.example.com", audiences=("ci",), claim="repository"),
        ),
        algorithms=("RS256", "ES256"),
        scopes=("relay/use",),
        cache_seconds=120,
        authorizer_concurrency=3,
        domain="openai.example.com",
        certificate="arn:aws:acm:eu-central-1:123456789012:certificate/12345678-1234-1234-1234-123456789012",
        requests_per_second=20,
        burst=40,
        requests_per_ip=900,
        requests_per_bearer=300,
        networks=("203.0.113.0/24",),
        countries=("DE", "CH"),
        origins=("https://chat.example.com",),
    ),
    on_destroy="delete",
)
KEYS_ONLY = replace(
    API,
    name="keys-only",
    region=None,
    callers=CallerPolicies(default=CallerPolicy(usd_per_day=2)),
    api=ApiOptions(account_log_role=False),
    on_destroy="keep",
)
_ALL = [*environments.ENVIRONMENTS, EVERYTHING, FREE_PLAN, API, KEYS_ONLY]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesised:
    """One environment as `cdk synth` would write it: its stacks' templates by the stack's id in the stage."""

    environment: Environment
    stacks: dict[str, dict[str, Any]]
    directory: Path


def synthesise_once(folder: Path) -> dict[str, Synthesised]:
    """`synthesise`, kept in `folder` for whoever asks again; the bundle is a stub. Callers hold a lock."""
    kept = folder / "templates.json"
    if not kept.exists():
        shutil.rmtree(folder, ignore_errors=True)
        code = folder / "bundle"
        code.mkdir(parents=True)
        code.joinpath("bootstrap").write_text("#!/bin/sh\n")
        templates = synthesise(bundle=code, out=folder / "cdk.out")
        kept.write_text(json.dumps({name: (t.stacks, str(t.directory)) for name, t in templates.items()}))
    return {
        environment.name: Synthesised(environment=environment, stacks=stacks, directory=Path(directory))
        for environment, (stacks, directory) in zip(_ALL, json.loads(kept.read_text()).values(), strict=True)
    }


def synthesise(*, bundle: Path, out: Path) -> dict[str, Synthesised]:
    """All environments as stages of one app, because the CDK takes seconds to start. Raises on a cdk-nag finding."""
    # Here and not above: importing the CDK starts Node, in every process that only collects tests.
    import aws_cdk as cdk
    import cdk_nag

    from cdk_app.stage import RelayStage

    context = json.loads(ROOT.joinpath("cdk.json").read_text())["context"]
    app = cdk.App(context=context, outdir=str(out))
    stages = {e.name: RelayStage(app, e.name, environment=e, bundle=bundle) for e in _ALL}
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    app.synth()
    return {e.name: _read(e, stages[e.name]) for e in _ALL}


def _read(environment: Environment, stage: RelayStage) -> Synthesised:
    assembly = stage.synth()
    stacks = {stack.display_name.split("/")[1].split(" ")[0]: stack.template for stack in assembly.stacks}
    return Synthesised(environment=environment, stacks=stacks, directory=Path(assembly.directory))
