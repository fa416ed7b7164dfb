"""What a change does to the templates of every environment, compared with another revision, as a page of Markdown.

Knows git, the CDK's command line and where an assembly keeps its templates; calls no AWS API. Each revision is
synthesised by its own code, but with the Python and Node packages that are installed here: what a new lock file brings
is seen, what the old one brought is not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CLI = ROOT / "node_modules" / ".bin" / "cdk"


class DiffError(Exception):
    """A revision has no templates; the text is what git or the CDK said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    name: str  # such as prod/edge
    assembly: Path  # what `cdk --app` takes
    template: Path

    def resources(self) -> list[str]:
        found = json.loads(self.template.read_text()).get("Resources", {})
        return [f"[-] {resource['Type']} {name}" for name, resource in found.items()]


def compare(*, base: str, root: Path = ROOT) -> str:
    """The page. Raises DiffError when the working copy cannot be synthesised or `base` is no revision."""
    with tempfile.TemporaryDirectory() as scratch, _checked_out(base, root, Path(scratch, "base")) as before:
        new = _synthesise(root, Path(scratch, "new.out"))
        title = f"# The templates, compared with {base} ({_git(before, 'rev-parse', '--short', 'HEAD').strip()})"
        try:
            old = _synthesise(before, Path(scratch, "old.out"))
        except DiffError as problem:
            # A change that fixes what is broken there must not fail for it.
            return f"{title}\n\n{base} cannot be synthesised:\n\n{_block(str(problem))}"
        differences = {name: _difference(old.get(name), new.get(name)) for name in sorted({*old, *new})}
    rows = [f"| {name} | {verdict} |" for name, (verdict, _) in differences.items()]
    details = [f"## {name}: {verdict}\n\n{_block(text)}" for name, (verdict, text) in differences.items() if text]
    return "\n\n".join([title, "\n".join(["| stack | |", "|---|---|", *rows]), *details])


def _difference(old: Stack | None, new: Stack | None) -> tuple[str, str]:
    """The verdict in a word or two, and the details."""
    if new is None:
        assert old is not None
        return "gone", "\n".join(old.resources())
    if old is not None and old.template.read_bytes() == new.template.read_bytes():
        return "as it was", ""
    before = old.template if old else new.assembly / "nothing.json"
    if old is None:
        before.write_text("{}")
    # With `--template` the CLI compares two files and calls no AWS API: docs.aws.amazon.com/cdk/v2/guide/ref-cli-cmd-diff.html
    output = _run([CLI, "diff", "--no-color", "--no-notices", "--app", new.assembly, "--template", before, new.name])
    return "changed" if old else "new", output.strip()


@contextlib.contextmanager
def _checked_out(revision: str, root: Path, place: Path) -> Iterator[Path]:
    _git(root, "worktree", "add", "--quiet", "--detach", str(place), revision)
    try:
        # The relay's packages are fetched once per lock file; its cache is keyed by that.
        cache = root / "build" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        place.joinpath("build").mkdir(exist_ok=True)
        place.joinpath("build", "cache").symlink_to(cache)
        yield place
    finally:
        _git(root, "worktree", "remove", "--force", str(place))


def _synthesise(sources: Path, out: Path) -> dict[str, Stack]:
    """Every stack of every environment, as `make synth` would make it there."""
    listed = "from cdk_app.environments import ENVIRONMENTS as all; print(*[environment.name for environment in all])"
    stacks: dict[str, Stack] = {}
    for environment in _run([sys.executable, "-c", listed], cwd=sources).split():
        made = out / environment
        context = ("-c", f"env={environment}")
        _run([CLI, "synth", "--quiet", "--no-notices", *context, "--output", made, "**"], cwd=sources)
        stacks |= {stack.name: stack for stack in _stacks(made, made)}
    return stacks


def _stacks(assembly: Path, directory: Path) -> Iterator[Stack]:
    """A stage is an assembly within the assembly: docs.aws.amazon.com/cdk/v2/guide/stages.html"""
    for artifact in json.loads(directory.joinpath("manifest.json").read_text())["artifacts"].values():
        about = artifact.get("properties", {})
        if artifact["type"] == "cdk:cloud-assembly":
            yield from _stacks(assembly, directory / about["directoryName"])
        elif artifact["type"] == "aws:cloudformation:stack":
            yield Stack(name=artifact["displayName"], assembly=assembly, template=directory / about["templateFile"])


def _git(where: Path, *arguments: str) -> str:
    return _run(["git", "-C", where, *arguments])


def _run(command: list[str | Path], cwd: Path = ROOT) -> str:
    """Return what it prints. `python`, which cdk.json falls back to, is this interpreter."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        command, cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise DiffError((ran.stderr or ran.stdout).strip())
    # The CLI writes a difference to the one or the other, by its settings.
    return ran.stdout + ran.stderr


def _block(text: str) -> str:
    return f"```\n{text}\n```"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m cdk_app.checks.template_diff", description=__doc__)
    parser.add_argument("--base", default="main", help="a branch, tag or commit (main)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "template-diff.md")
    given = parser.parse_args(arguments)
    try:
        page = compare(base=given.base)
    except DiffError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page + "\n")
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
