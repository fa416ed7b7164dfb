"""Reads the command line, runs the command, and says in one line what went wrong."""

from __future__ import annotations

import argparse
import io
import os
import pathlib
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from clients import EXAMPLE_MODEL
from emulator import demo, local_env
from emulator.assembly.deployment import ROOT
from emulator.errors import EmulatorError
from emulator.front.delivery import Disconnects
from emulator.local_stack import LocalStack
from emulator.processes import machine
from emulator.processes.log import LogSink
from emulator.signing.identities import read_identities

EXPECTED = (EmulatorError, ValueError, OSError)
INTERRUPTED, TERMINATED = 130, 143  # 128 and the signal's number, as shells report it
LOCAL_ENV = ROOT / "build" / "local.env"


def run_as_process(arguments: Sequence[str]) -> int:
    """`main`, with what belongs to a process of our own: its signals, its environment and its output's encoding."""
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, terminate)
    openai_key = os.environ.get("OPENAI_API_KEY", "").strip()
    kept = machine.taken_over(os.environ)
    os.environ.clear()
    os.environ.update(kept)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no locale refuses a character
    return main(arguments, openai_key)


def main(arguments: Sequence[str], openai_key: str = "") -> int:
    """Runs one command and returns its exit status."""
    options = parser().parse_args(arguments)
    options.openai_key = openai_key
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return INTERRUPTED
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def interrupt(number: int, frame: FrameType | None) -> None:
    """Ends the command in order; a second Ctrl-C while that lasts changes nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def terminate(number: int, frame: FrameType | None) -> None:
    """An exception, so that everything that was started is stopped on the way out."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(TERMINATED)


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message} (`{self.prog} --help` says more)", file=sys.stderr)
        sys.exit(2)


def parser() -> argparse.ArgumentParser:
    root = OneLineParser(prog="python -m emulator", description="The deployed Lambda, on this machine.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    local = commands.add_parser("local", help="serve until Ctrl-C")
    local.set_defaults(run=run_local)
    add_common(local)
    local.add_argument("--port", type=port, default=9000, help="0 picks a free one (default: 9000)")
    once = commands.add_parser("demo", help="one signed request, its response shown as it arrives")
    once.set_defaults(run=run_demo)
    add_common(once)
    once.add_argument("--port", type=port, default=0, help=argparse.SUPPRESS)
    once.add_argument("--prompt", default="Why do streamed responses feel faster? Answer in three sentences.")
    once.add_argument("--model", default=EXAMPLE_MODEL)
    deploy = commands.add_parser("deploy", help="deploy to an AWS account of MiniStack's, check, destroy")
    deploy.set_defaults(run=run_deploy)
    deploy.add_argument("--env", default="dev", help="which environment (default: dev)")
    return root


def add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--env", default="dev", help="which environment of cdk_app/environments.py (default: dev)")
    command.add_argument("--region", default="eu-central-1")
    command.add_argument("--assembly", type=pathlib.Path, metavar="DIR", help="a cdk.out, instead of a new synthesis")
    command.add_argument("--upstream", default="", metavar="URL", help="instead of the stand-in or OpenAI")
    command.add_argument(
        "--fixtures", type=pathlib.Path, metavar="FILE", help="what the stand-in answers (aimock's JSON)"
    )
    command.add_argument(
        "--tell-disconnects", action="store_true", help="let the function notice that its caller left; Lambda does not"
    )
    command.add_argument("--timeout", type=float, metavar="SECONDS", help="instead of the template's")
    command.add_argument(
        "--api", action="store_true", help="the door for keys and tokens, also where the environment has none"
    )
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the function")
    command.add_argument("--identities", type=pathlib.Path, metavar="FILE", help="JSON list of who may call")
    command.add_argument(
        "--relay-command", default="", metavar="COMMAND", help="another runtime client than the bundle"
    )


def port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535 (0 picks a free one), not {text!r}")
    return int(text)


def local_stack(options: argparse.Namespace, logs: LogSink) -> LocalStack:
    return LocalStack(
        environment=options.env,
        region=options.region,
        assembly=options.assembly,
        port=options.port,
        openai_key=options.openai_key,
        upstream=options.upstream,
        fixtures=options.fixtures,
        disconnects=Disconnects.TOLD if options.tell_disconnects else Disconnects.HIDDEN,
        timeout=options.timeout,
        overrides=dict(pair(text) for text in options.set),
        identities=read_identities(options.identities) if options.identities else (),
        command=tuple(shlex.split(options.relay_command)),
        logs=logs,
        with_api=options.api,
    )


def pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set takes NAME=VALUE, not {text!r}")
    return name, value


def run_local(options: argparse.Namespace) -> int:
    with local_stack(options, LogSink(sys.stderr)) as stack, local_env.written(LOCAL_ENV, stack.variables()):
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        for line in stack.hints(LOCAL_ENV.relative_to(ROOT)):
            print(line, file=sys.stderr, flush=True)
        print(stack.ready_line(), flush=True)
        stop.wait()
    return 0


def run_demo(options: argparse.Namespace) -> int:
    logs = LogSink()
    with local_stack(options, logs) as stack:
        result = demo.ask(
            stack.relay, upstream=stack.upstream_name, prompt=options.prompt, model=options.model, out=sys.stdout
        )
    if not result.complete:
        print(f"error: {result.problem}; the last lines of the function's log:", file=sys.stderr)
        for line in logs.lines()[-10:]:
            print(f"  [{line.source}] {line.text}", file=sys.stderr)
    return 0 if result.complete else 1


def run_deploy(options: argparse.Namespace) -> int:
    from emulator.local_deploy import command  # with boto3, which the other commands do without

    return 0 if command.run(options.env, sys.stdout) else 1
