"""`python -m emulator local|demo`: reads the command line and says errors in one line; the work is in `session`."""

from __future__ import annotations

import argparse
import os
import pathlib
import shlex
import signal
import sys
import threading
from collections.abc import Sequence

from clients import EXAMPLE_MODEL
from emulator import demo
from emulator.assembly.deployment import SynthesisError
from emulator.assembly.template import TemplateError
from emulator.fakes.readiness import StandInError
from emulator.front.function_url import Disconnects
from emulator.local_deploy import command
from emulator.local_deploy.deployment import RehearsalError
from emulator.local_stack import Session
from emulator.processes.log import LogSink
from emulator.signing.identities import read_identities

EXPECTED = (RehearsalError, SynthesisError, StandInError, TemplateError, ValueError, OSError)


def main(arguments: Sequence[str]) -> int:
    wanted = parser().parse_args(arguments)
    try:
        return int(wanted.run(wanted))
    except KeyboardInterrupt:
        return 130
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m emulator", description="The deployed Lambda, on this machine.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    local = commands.add_parser("local", help="serve until Ctrl-C")
    local.set_defaults(run=run_local)
    add_common(local)
    local.add_argument("--port", type=int, default=9000, help="0 picks a free one (default: 9000)")
    once = commands.add_parser("demo", help="one signed request, its answer shown as it arrives")
    once.set_defaults(run=run_demo)
    add_common(once)
    once.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    once.add_argument("--prompt", default="Why do streamed answers feel faster? Answer in three sentences.")
    once.add_argument("--model", default=EXAMPLE_MODEL)
    rehearsal = commands.add_parser("rehearse", help="deploy to an AWS account of MiniStack's, check, destroy")
    rehearsal.set_defaults(run=run_rehearsal)
    rehearsal.add_argument("--env", default="dev", help="which environment (default: dev)")
    return root


def add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--env", default="dev", help="which environment of cdk_app/environments.py (default: dev)")
    command.add_argument("--region", default="eu-central-1")
    command.add_argument("--upstream", default="", metavar="URL", help="instead of the stand-in or OpenAI")
    command.add_argument(
        "--tell-disconnects", action="store_true", help="let the function notice that its caller left; Lambda does not"
    )
    command.add_argument("--timeout", type=float, metavar="SECONDS", help="instead of the template's")
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the function")
    command.add_argument("--identities", type=pathlib.Path, metavar="FILE", help="JSON list of who may call")
    command.add_argument(
        "--relay-command", default="", metavar="COMMAND", help="another runtime client than the bundle"
    )


def run_rehearsal(wanted: argparse.Namespace) -> int:
    return 0 if command.run(wanted.env, sys.stdout) else 1


def session(wanted: argparse.Namespace, logs: LogSink) -> Session:
    return Session(
        environment=wanted.env,
        region=wanted.region,
        port=wanted.port,
        openai_key=os.environ.get("OPENAI_API_KEY", ""),
        upstream=wanted.upstream,
        disconnects=Disconnects.TOLD if wanted.tell_disconnects else Disconnects.HIDDEN,
        timeout=wanted.timeout,
        overrides=dict(pair(text) for text in wanted.set),
        identities=read_identities(wanted.identities) if wanted.identities else (),
        command=tuple(shlex.split(wanted.relay_command)),
        logs=logs,
    )


def pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set takes NAME=VALUE, not {text!r}")
    return name, value


def run_local(wanted: argparse.Namespace) -> int:
    with session(wanted, LogSink(sys.stderr)) as running:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        for line in running.hints():
            print(line, file=sys.stderr, flush=True)
        print(running.ready_line(), flush=True)
        stop.wait()
    return 0


def run_demo(wanted: argparse.Namespace) -> int:
    logs = LogSink()
    with session(wanted, logs) as running:
        answer = demo.ask(
            running.relay, upstream=running.upstream_name, prompt=wanted.prompt, model=wanted.model, out=sys.stdout
        )
    if not answer.complete:
        print(f"error: {answer.problem}; the last lines of the function's log:", file=sys.stderr)
        for line in logs.lines()[-10:]:
            print(f"  [{line.source}] {line.text}", file=sys.stderr)
    return 0 if answer.complete else 1


if __name__ == "__main__":
    # 128 + 15, as shells report it; an exception, so that everything that was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
