"""The API of the template in front of the real bundle, on this machine: with an issuer, keys, and all that it calls."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from authorizer import api_key
from relay.frozen import EMPTY

from cdk_app.bundle import target_python
from emulator.assembly import api as api_template
from emulator.assembly.deployment import create_resources, settings
from emulator.assembly.template import read
from emulator.fakes.aws import AwsStandIn
from emulator.fakes.issuer import Issuer
from emulator.fakes.raw_upstream import RawUpstream
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function
from emulator.signing.identities import local_role_session
from operate.dynamodb import Boto3Store
from operate.keys.table import Key, KeysTable
from operate.limits_table import LimitsTable
from tests.support.doubles import openai_api

ISSUER = "https://id.example.com/"
CLAIMS = {"department": "research", "email": "ann@example.com", "scope": "openid relay/use"}
INVOKER = local_role_session("batch", number=7)


class ApiDoor:
    """What a test needs: `url` of the API, `issuer` of its tokens, `keys` of its table, `upstream` behind the relay."""

    def __init__(self, local: LocalLambda, issuer: Issuer, upstream: RawUpstream, limits: LimitsTable) -> None:
        self.local = local
        self.issuer = issuer
        self.upstream = upstream
        self.limits = limits
        self.keys = KeysTable(limits)

    @property
    def url(self) -> str:
        return self.local.api_url

    def key(self, name: str = "ci-bot", *, seconds: float | None = None) -> str:
        until = api_key.FOREVER if seconds is None else int((time.time() + seconds) * 1000)
        return self.keys.create(name, until=until, owner="", labels={})

    def stored(self, key: str) -> Key:
        (found,) = (each for each in self.keys.all() if each.id == api_key.id_of(key))
        return found

    def token(self, subject: str = "ann", **claims: Any) -> str:
        return self.issuer.token(subject, **{**CLAIMS, **claims})


@contextlib.contextmanager
def api_door(assembly: Path, bundle: Path, *, overrides: Mapping[str, str] = EMPTY, **more: Any) -> Iterator[ApiDoor]:
    """`assembly` has an environment with an API; `overrides` are other settings of the relay, `more` further fields of its
    function."""
    with contextlib.ExitStack() as started:
        upstream = started.enter_context(RawUpstream())
        upstream.answer_with(openai_api.answer)
        aws = started.enter_context(AwsStandIn())
        issuer = started.enter_context(Issuer(ISSUER))
        deployed = read(assembly)
        attributes, _ = create_resources(deployed, aws, "sk-planted-openai-key", aws.region)
        attributes |= api_template.attributes(assembly)
        environment = {
            **aws.environment(),
            **settings(deployed, attributes, {"OPENAI_BASE_URL": upstream.url, **overrides}, aws.region),
        }
        table = environment["TABLE_NAME"]
        function = Function.of_bundle(
            bundle, python=target_python.find(), environment=environment, **{"timeout": 30, "concurrency": 4, **more}
        )
        api = api_template.read(assembly, aws, region=aws.region, table=table, local_issuers={ISSUER: issuer.base_url})
        local = started.enter_context(LocalLambda(function, api=api, identities=(INVOKER,), direct_invokers=(INVOKER,)))
        client = boto3.client(
            "dynamodb",
            endpoint_url=aws.url,
            region_name=aws.region,
            aws_access_key_id=aws.operator.access_key,
            aws_secret_access_key=aws.operator.secret_key,
        )
        limits = LimitsTable(Boto3Store(client), table=table, clock=lambda: int(time.time() * 1000))
        yield ApiDoor(local, issuer, upstream, limits)
