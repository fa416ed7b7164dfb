"""The page that shows what a change does to the templates: real git and the real CDK CLI, on an app of twenty lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cdk_app.checks import template_diff

# Writes what aws-cdk-lib would, which takes seconds to start: an assembly with one stage, and in it one stack.
APP = """
import json, os, pathlib
from cdk_app.environments import ENVIRONMENTS
name = json.loads(os.environ["CDK_CONTEXT_JSON"])["env"]
resources = next(one for one in ENVIRONMENTS if one.name == name).resources
out = pathlib.Path(os.environ["CDK_OUTDIR"])
stage = out / "stage"
stage.mkdir(parents=True)
def artifact(type, **more):
    return {"type": type, **more}
def manifest(where, **artifacts):
    where.joinpath("manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": artifacts}))
properties = {"directoryName": "stage", "displayName": name}
manifest(out, stage=artifact("cdk:cloud-assembly", properties=properties))
anywhere = "aws://unknown-account/unknown-region"
stack = artifact("aws:cloudformation:stack", environment=anywhere, properties={"templateFile": "t.json"})
manifest(stage, stack={**stack, "displayName": f"{name}/relay"})
kinds = {n: {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": v}} for n, v in resources.items()}
stage.joinpath("t.json").write_text(json.dumps({"Resources": kinds}))
"""
SAME = "E(name='same', resources={'S': 'x'})"
ENVIRONMENTS = "from types import SimpleNamespace as E\nENVIRONMENTS = [{}]\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A branch `main`; what the tests write over it is the change."""
    root = tmp_path / "repository"
    root.joinpath("cdk_app").mkdir(parents=True)
    root.joinpath("cdk_app", "__init__.py").touch()
    root.joinpath("app.py").write_text(APP)
    root.joinpath("cdk.json").write_text('{"app": "python app.py"}')
    root.joinpath(".gitignore").write_text("build/\n__pycache__/\n")
    _environments(root, "E(name='dev', resources={'T': 'old'})", "E(name='left', resources={'L': 'x'})", SAME)
    _git(root, "init", "--quiet", "--initial-branch=main")
    _git(root, "add", ".")
    _git(root, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "-m", "main")
    return root


def _environments(root: Path, *environments: str) -> None:
    root.joinpath("cdk_app", "environments.py").write_text(ENVIRONMENTS.format(", ".join(environments)))


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True).stdout


def test_each_stack_is_as_it_was_or_changed_or_new_or_gone(repository: Path) -> None:
    _environments(repository, "E(name='dev', resources={'T': 'young'})", "E(name='more', resources={'M': 'x'})", SAME)
    page = template_diff.compare(base="main", root=repository)
    table, dev, left, more = page.split("\n## ")
    assert "| dev/relay | changed |\n| left/relay | gone |\n| more/relay | new |\n| same/relay | as it was |" in table
    assert "[-] old" in dev
    assert "[+] young" in dev
    assert "[-] AWS::SNS::Topic L" in left
    assert "[+] AWS::SNS::Topic M" in more
    assert _git(repository, "worktree", "list").count("\n") == 1


def test_a_change_that_cannot_be_synthesised_fails_with_what_was_said(repository: Path) -> None:
    repository.joinpath("app.py").write_text("raise SystemExit('error: a readable line')")
    with pytest.raises(template_diff.DiffError, match="a readable line"):
        template_diff.compare(base="main", root=repository)
    assert _git(repository, "worktree", "list").count("\n") == 1


def test_a_change_that_mends_a_broken_main_does_not_fail(repository: Path) -> None:
    repository.joinpath("app.py").write_text("raise SystemExit('error: broken')")
    _git(repository, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-aqm", "broken")
    repository.joinpath("app.py").write_text(APP)
    page = template_diff.compare(base="main", root=repository)
    assert "main cannot be synthesised" in page
    assert "error: broken" in page


def test_an_unknown_revision_is_a_failure(repository: Path) -> None:
    with pytest.raises(template_diff.DiffError, match="nowhere"):
        template_diff.compare(base="nowhere", root=repository)
