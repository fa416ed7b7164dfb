"""From what the template says to a function that runs here: secrets and tables made in the stand-in, names filled
in.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator.assembly.template import Attributes, Deployed, TemplateError, resolve
from emulator.errors import EmulatorError
from emulator.fakes.aws import AwsStandIn
from emulator.processes import child_process, machine
from emulator.runtime.function import Function
from emulator.signing.identities import ACCOUNT

ROOT = Path(__file__).resolve().parent.parent.parent
KEY_SETTING = "OPENAI_SECRET_ARN"  # the one setting whose meaning has to be known: it names the secret to fill

STDERR = 2  # the descriptor: stdout is for the one line that others read
BOOTSTRAP = "/var/runtime/bootstrap.py"  # the managed client's file, which the wrapper is told and leaves alone


class SynthesisError(EmulatorError):
    """`app.py` failed; it has said why on stderr."""


def synthesise(environment: str, out: Path, *, with_api: bool = False) -> Path:
    """Runs app.py as the CDK CLI would, into `out`. Needs node on PATH; takes some seconds. `with_api`: also an environment
    without one gets an API, for keys and for a local issuer's tokens."""
    context = json.loads((ROOT / "cdk.json").read_text()).get("context", {})
    if shutil.which("node") is None:
        raise SynthesisError("node is not on PATH: Node >= 20 runs the CDK")
    variables = {
        **machine.taken_over(os.environ),
        "CDK_OUTDIR": str(out),
        "CDK_CONTEXT_JSON": json.dumps({**context, "env": environment}),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": os.environ.get(
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20"
        ),
    }

    program = ["-m", "emulator.assembly.api_app"] if with_api else ["app.py"]
    status = child_process.run([sys.executable, *program], env=variables, cwd=ROOT, stdout=STDERR)
    if status != 0:
        raise SynthesisError(f"`python app.py` for the environment {environment!r} failed (see above)")
    return out


def deploy(
    deployed: Deployed,
    aws: AwsStandIn,
    *,
    openai_key: str,
    region: str,
    python: Path | None,
    overrides: Mapping[str, str],
    command: Sequence[str] = (),
    timeout: float | None = None,
    others: Mapping[str, Attributes] | None = None,
) -> Function:
    """`others` are resources that exist already. `overrides` replace settings of the template, `command` the bundle's
    exec wrapper."""
    attributes, key_arn = create_resources(deployed, aws, openai_key, region)
    attributes |= others or {}
    environment = {**aws.environment(), **settings(deployed, attributes, overrides, region)}
    if not key_arn:  # the template names a secret that exists elsewhere
        existing = environment.get(KEY_SETTING, "")
        environment[KEY_SETTING] = aws.put_secret(openai_key, name=existing.rpartition(":secret:")[2])
    return Function(
        command=tuple(command) or wrapped(deployed, environment, python),
        task_root=deployed.code,
        environment=environment,
        region=region,
        **limits(deployed.properties, timeout),
    )


def create_resources(
    deployed: Deployed, aws: AwsStandIn, openai_key: str, region: str
) -> tuple[dict[str, Attributes], str]:
    """The template's secrets and tables in the stand-in; and the ARN of the one that holds the OpenAI key, if any."""
    attributes: dict[str, Attributes] = {}
    key_arn = ""
    for name, properties in deployed.secrets.items():
        holds_key = deployed.environment.get(KEY_SETTING) in ({"Ref": name}, {"Fn::GetAtt": [name, "Id"]})
        arn = aws.put_secret(openai_key if holds_key else initial_value(properties))
        key_arn = arn if holds_key else key_arn
        attributes[name] = {"Ref": arn, "Id": arn}
    for name, properties in deployed.tables.items():
        table = aws.create_table(properties)
        attributes[name] = {"Ref": table, "Arn": f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{table}"}
    return attributes, key_arn


def initial_value(properties: Mapping[str, Any]) -> str | None:
    """What CloudFormation would put into a new secret."""
    if "GenerateSecretString" in properties:
        return secrets.token_urlsafe(32)
    return properties.get("SecretString")


def settings(
    deployed: Deployed, attributes: Mapping[str, Attributes], overrides: Mapping[str, str], region: str
) -> dict[str, str]:
    resolved = dict(overrides)
    for name, value in deployed.environment.items():
        if name not in overrides:
            try:
                resolved[name] = resolve(value, attributes, region=region)
            except TemplateError as error:
                raise TemplateError(f"the function's setting {name}: {error}; give it with --set {name}=...") from None
    return resolved


def wrapped(deployed: Deployed, environment: Mapping[str, str], python: Path | None) -> tuple[str, ...]:
    """The exec wrapper with the arguments Lambda gives it: docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html"""
    wrapper = environment.get("AWS_LAMBDA_EXEC_WRAPPER", "")
    if not wrapper.startswith("/var/task/"):
        raise TemplateError(f"AWS_LAMBDA_EXEC_WRAPPER is {wrapper!r}, not a file of the bundle in /var/task")
    return (str(deployed.code / wrapper.removeprefix("/var/task/")), str(python or sys.executable), BOOTSTRAP)


def limits(properties: Mapping[str, Any], timeout: float | None) -> dict[str, Any]:
    logging = properties.get("LoggingConfig", {})
    return {
        "handler": properties.get("Handler", ""),
        "runtime": properties.get("Runtime", ""),
        "memory": properties.get("MemorySize", 128),
        "timeout": timeout or float(properties.get("Timeout", 3)),
        # Without a reservation an account's 1000 are the limit; a laptop has enough with ten.
        "concurrency": properties.get("ReservedConcurrentExecutions", 10),
        "log_format": logging.get("LogFormat", "Text"),
        "log_level": logging.get("ApplicationLogLevel", "INFO"),
    }
