"""The workflows do what a person can do, with no more rights than that takes. That they run at all: `.ci/workflows`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.synthesis import ROOT

FILES = sorted(ROOT.joinpath(".github", "workflows").glob("*.yml"))
# Whose code runs with our rights: GitHub's own, and AWS's for the one thing that GitHub cannot do.
ACTIONS = {
    "actions/checkout",
    "actions/setup-python",
    "actions/setup-node",
    "actions/upload-artifact",
    "aws-actions/configure-aws-credentials",
}
MADE = {"node_modules", ".venv", "build", "cdk.out"}
Workflow = dict[str, Any]


def _read(name: str) -> Workflow:
    read: dict[Any, Any] = yaml.safe_load(ROOT.joinpath(".github", "workflows", name).read_text())
    # YAML 1.1 takes the key `on` for true.
    return {"on": read.pop(True), **read}


@pytest.fixture(params=[path.name for path in FILES])
def workflow(request: pytest.FixtureRequest) -> Workflow:
    return _read(request.param)


def _steps(workflow: Workflow) -> Iterator[dict[str, Any]]:
    return (step for job in workflow["jobs"].values() for step in job["steps"])


def test_every_action_is_one_of_few_at_a_commit_whose_version_is_said() -> None:
    used = [line for path in FILES for line in path.read_text().splitlines() if "uses:" in line]
    for line in used:
        action = re.fullmatch(r"\s+- uses: ([\w/-]+)@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
        assert action, line
        assert action[1] in ACTIONS, line


def test_one_action_is_at_one_commit_everywhere() -> None:
    used = {use for path in FILES for use in re.findall(r"uses: (\S+)", path.read_text())}
    assert len(used) == len({use.partition("@")[0] for use in used})


def test_every_command_is_one_of_make(workflow: Workflow) -> None:
    targets = set(re.findall(r"^([a-z-]+):", ROOT.joinpath("Makefile").read_text(), re.MULTILINE))
    for step in _steps(workflow):
        if "run" in step:
            command = re.fullmatch(r'make ([a-z-]+)( [A-Z]+=[\w/."$]+)*', step["run"])
            assert command, step["run"]
            assert command[1] in targets


def test_nothing_may_be_written_and_nothing_is_kept_that_could(workflow: Workflow) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        allowed = job.get("permissions", {})
        assert allowed in ({}, {"contents": "read", "id-token": "write"})
        # The token for AWS says the environment, which is what the role's trust asks for.
        assert ("id-token" in allowed) == ("environment" in job)
    for step in _steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_what_a_stranger_sends_runs_without_credentials() -> None:
    assert "pull_request_target" not in "".join(path.read_text() for path in FILES)
    assert "id-token" not in str(_read("pull-request.yml"))
    assert "secrets" not in str([_read(path.name) for path in FILES])


def test_each_environment_can_be_deployed_by_name_one_run_at_a_time() -> None:
    deploy = _read("deploy.yml")
    assert list(deploy["on"]) == ["workflow_dispatch"]
    # No list of names to keep: GitHub offers its own environments, where each has its role.
    # docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#onworkflow_dispatchinputsinput_idtype
    offered = deploy["on"]["workflow_dispatch"]["inputs"]["environment"]
    assert (offered["type"], offered["required"], "options" in offered) == ("environment", True, False)
    (job,) = deploy["jobs"].values()
    assert job["environment"] == "${{ inputs.environment }}"
    assert deploy["concurrency"] == {"group": "deploy-${{ inputs.environment }}", "cancel-in-progress": False}


def test_packages_are_installed_before_there_are_credentials() -> None:
    steps = [step.get("run") or step["uses"].partition("@")[0] for step in _steps(_read("deploy.yml"))]
    assert steps.index('make synth ENV="$TARGET"') < steps.index("aws-actions/configure-aws-credentials")


def test_a_pull_request_passes_the_gate_and_shows_its_templates() -> None:
    jobs = _read("pull-request.yml")["jobs"]
    assert "make test" in [step.get("run") for step in jobs["gate"]["steps"]]
    (upload,) = (step for step in jobs["templates"]["steps"] if "upload-artifact" in step.get("uses", ""))
    assert upload["with"]["path"] == "build/template-diff.md"


def test_every_lock_is_looked_after() -> None:
    updates = yaml.safe_load(ROOT.joinpath(".github", "dependabot.yml").read_text())["updates"]
    looked_after = {kind["package-ecosystem"]: kind.get("directories", [kind.get("directory")]) for kind in updates}
    assert set(looked_after) == {"pip", "npm", "github-actions"}
    names = {"pip": "requirements.in", "npm": "package.json"}
    for ecosystem, name in names.items():
        ours = (path for path in ROOT.iterdir() if path.is_dir() and path.name not in MADE)
        found = [*ROOT.glob(name), *(path for folder in ours for path in folder.rglob(name))]
        folders = {"/" + str(path.parent.relative_to(ROOT)).removeprefix(".") for path in found}
        assert folders == set(looked_after[ecosystem])


def test_the_price_list_is_looked_at_every_week() -> None:
    """On a clock of its own, so that no date turns the gate red."""
    prices = _read("prices.yml")
    ((minute, hour, *days),) = (each["cron"].split() for each in prices["on"]["schedule"])
    assert minute.isdecimal() and hour.isdecimal()  # noqa: PT018
    assert days == ["*", "*", "1"]
    assert [step["run"] for step in _steps(prices) if "run" in step] == ["make prices CHECK=1"]
    for name in (path.name for path in FILES):
        assert ("schedule" in _read(name)["on"]) == (name == "prices.yml")
