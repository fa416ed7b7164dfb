"""A deployment tried on this machine: the real CDK CLI against an AWS account that MiniStack plays.

    with LocalDeployment("dev") as local:
        local.bootstrap(), local.deploy(), local.differences(), local.attempts()
        local.running(...), local.update(), local.destroy()

What is not covered, because MiniStack has it not: whether WAF refuses, CloudFront itself, streaming through a real
Function URL, log deliveries, and values that AWS would not take.
"""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from cdk_app.bundle import target_python
from emulator.assembly.deployment import ROOT
from emulator.front.cloudfront import Edge
from emulator.local_deploy import callers
from emulator.local_deploy.cdk_cli import CdkCli
from emulator.local_deploy.changes import Changes
from emulator.local_deploy.ministack_account import REGION, MiniStackAccount
from emulator.local_deploy.permissions import Attempt, Deployed, attempts
from emulator.local_deploy.variants import Variant
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function
from emulator.signing.identities import ACCOUNT


class LocalDeployment:
    """A context manager; its methods are the steps, to be called in the order of life."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._stack as started:
            self.cloud = started.enter_context(MiniStackAccount())
            place = ROOT / "build"
            place.mkdir(exist_ok=True)
            self._folder = Path(started.enter_context(TemporaryDirectory(dir=place, prefix="local-deploy-")))
            self._cdk = CdkCli(self._environment, self.cloud, self._folder)
            self._cdk.synthesise()
            self._variant = Variant.FIRST
            self.changes = Changes(self._environment, self.cloud, self._cdk)
            self._stack = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # -- the CDK's CLI -----------------------------------------------------------------------------------------

    def bootstrap(self) -> None:
        self._cdk.run("bootstrap", f"aws://{ACCOUNT}/{REGION}")

    def deploy(self) -> None:
        self._cdk.run("deploy", f"{self._variant}/**", "--require-approval", "never")

    def differences(self) -> str:
        """Empty when what is deployed is what the app says."""
        diff = self._cdk.attempt("diff", f"{self._variant}/**", "--fail")
        return "" if diff.returncode == 0 else diff.stdout + diff.stderr

    def update(self) -> None:
        """Deploys a changed environment: another log level, and the origin secret learnt anew."""
        self._variant = Variant.UPDATED
        self.deploy()

    def turn_the_edge_off(self) -> tuple[list[str], list[str]]:
        """What is left over of the edge, and what is said when that is removed."""
        self._variant = Variant.WITHOUT_EDGE
        return self.changes.turn_the_edge_off()

    def destroy(self) -> list[str]:
        """What is left of the environment's stacks afterwards."""
        self._cdk.run("destroy", f"{self._variant}/**", "--force")
        return sorted(self.cloud.stacks())

    # -- callers -----------------------------------------------------------------------------------------------

    def create_callers(self) -> None:
        callers.create(self.cloud)

    def callers(self) -> list[str]:
        """Names of the roles to which the policy of the output CallerPolicyArn is attached."""
        return callers.with_policy(self.cloud, self.outputs()["CallerPolicyArn"])

    def function_statements(self) -> int:
        """How many statements the function's own policy has."""
        return callers.statements(self.cloud, self.outputs()["FunctionName"])

    # -- an operator -------------------------------------------------------------------------------------------

    def outputs(self) -> dict[str, str]:
        """The outputs of all the environment's stacks that are for people."""
        stacks = self.cloud.client("cloudformation").describe_stacks()["Stacks"]
        outputs = [output for stack in stacks for output in stack.get("Outputs", [])]
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def set_key(self) -> str:
        """As the output SetKeyCommand says; returns the key."""
        words = self.outputs()["SetKeyCommand"].split()
        secret, key = words[words.index("--secret-id") + 1], f"sk-local-{secrets.token_hex(12)}"
        self.cloud.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=key)
        return key

    def rotate_origin_secret(self) -> str:
        """As docs/edge.md says; returns the value. The distribution learns it with the next `update`."""
        value, secret = secrets.token_hex(32), self.outputs()["OriginSecretArn"]
        self.cloud.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=value)
        return value

    def sent_by_the_distribution(self) -> dict[str, str]:
        """The origin's headers as they were deployed."""
        return {header["HeaderName"]: header["HeaderValue"] for header in self._origin()["CustomHeaders"]["Items"]}

    def log_level(self) -> str:
        """The function's, as it is deployed now."""
        return str(self._configuration()["LoggingConfig"]["ApplicationLogLevel"])

    # -- the function ------------------------------------------------------------------------------------------

    def attempts(self) -> Iterator[Attempt]:
        """Calls under the function's own role, allowed ones and others."""
        credentials = self._role_credentials()
        variables = self._configuration()["Environment"]["Variables"]
        neighbours = self._neighbours()
        deployed = Deployed(
            key=variables["OPENAI_SECRET_ARN"],
            origin_secret=variables["EDGE_SECRET_ARN"],
            table=variables["TABLE_NAME"],
            neighbour_secret=neighbours[0],
            neighbour_table=neighbours[1],
            function=self.outputs()["FunctionName"],
        )
        return attempts(lambda service: self.cloud.client(service, credentials), deployed)

    def attach(self, action: str, resource: str = "*") -> None:
        """Gives the role one permission more, as somebody in a hurry would."""
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        self._put_policy("added", [statement])

    def detach(self) -> None:
        """Takes it back."""
        self.cloud.client("iam").delete_role_policy(RoleName=self._role_name(), PolicyName="added")

    def deny(self, action: str) -> None:
        """Takes one permission away, whatever else allows it; `detach` gives it back."""
        self._put_policy("added", [{"Effect": "Deny", "Action": action, "Resource": "*"}])

    @contextlib.contextmanager
    def running(self, upstream: str) -> Iterator[LocalLambda]:
        """What was deployed, running here: its code, settings and role, behind its distribution's header."""
        configuration = self._configuration()
        environment = {
            **configuration["Environment"]["Variables"],
            **self._role_credentials(),
            "AWS_ENDPOINT_URL": self.cloud.url,
            "AWS_CA_BUNDLE": str(self.cloud.ca_file),
            "OPENAI_BASE_URL": upstream,
        }
        with TemporaryDirectory(dir=self._folder) as folder:
            root = self._unpacked(Path(folder))
            function = Function.of_bundle(
                root,
                python=target_python.find(),
                environment=environment,
                region=REGION,
                memory=configuration["MemorySize"],
                timeout=configuration["Timeout"],
            )
            header, value = next(iter(self.sent_by_the_distribution().items()))
            edge = Edge(header=header, secret=lambda: value)
            with LocalLambda(function, edge=edge) as relay:
                yield relay

    # ----------------------------------------------------------------------------------------------------------

    def _origin(self) -> Any:
        cloudfront = self.cloud.client("cloudfront")
        (distribution,) = cloudfront.list_distributions()["DistributionList"]["Items"]
        return cloudfront.get_distribution_config(Id=distribution["Id"])["DistributionConfig"]["Origins"]["Items"][0]

    def _configuration(self) -> Any:
        name = self.outputs()["FunctionName"]
        return self.cloud.client("lambda").get_function(FunctionName=name)["Configuration"]

    def _role_name(self) -> str:
        return str(self._configuration()["Role"]).rpartition("/")[2]

    def _role_credentials(self) -> dict[str, str]:
        """Only Lambda may assume the role. The local deployment adds itself to the trust, and changes nothing else."""
        services = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        us = {**services, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
        document = json.dumps({"Version": "2012-10-17", "Statement": [services, us]})
        self.cloud.client("iam").update_assume_role_policy(RoleName=self._role_name(), PolicyDocument=document)
        return self.cloud.assume(self._configuration()["Role"])

    def _put_policy(self, name: str, statements: list[dict[str, str]]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam = self.cloud.client("iam")
        iam.put_role_policy(RoleName=self._role_name(), PolicyName=name, PolicyDocument=document)

    def _neighbours(self) -> tuple[str, str]:
        """A secret and a table that are there and somebody else's."""
        suffix = secrets.token_hex(4)
        secret = self.cloud.client("secretsmanager").create_secret(Name=f"other-{suffix}", SecretString="other")
        self.cloud.client("dynamodb").create_table(
            TableName=f"other-{suffix}",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
        )
        return secret["ARN"], f"other-{suffix}"

    def _unpacked(self, folder: Path) -> Path:
        """The zip that was uploaded, as Lambda would unpack it: with its modes."""
        name = self.outputs()["FunctionName"]
        location = self.cloud.client("lambda").get_function(FunctionName=name)["Code"]["Location"]
        # MiniStack names itself by another host, and without TLS.
        parts = urlsplit(location)
        response = httpx.get(
            f"{self.cloud.url}{parts.path}?{parts.query}", verify=self.cloud.tls_context(), trust_env=False
        )
        response.raise_for_status()
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            for info in archive.infolist():
                path = Path(archive.extract(info, folder))
                if not info.is_dir():
                    path.chmod(info.external_attr >> 16 & 0o777)
        return folder
