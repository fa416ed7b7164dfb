"""The repository whose pipelines may deploy: the file to edit before `make deploy-roles`. Knows nothing of the CDK."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cdk_app.config.environment import ConfigurationError

PLACEHOLDER = "OWNER/REPOSITORY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    # As GitHub's tokens write it. Since 15 July 2026 that is "OWNER@ID/REPOSITORY@ID" for new and renamed repositories,
    # so that whoever takes over an abandoned name cannot deploy; older ones have "OWNER/REPOSITORY" until they
    # opt in. The numbers: gh api repos/OWNER/REPOSITORY --jq '{owner: .owner.id, repository: .id}'
    # Source: docs.github.com/en/actions/reference/security/oidc#immutable-subject-claims
    repository: str
    # GitHub as an identity provider, of which an account can have one: "create" it, or it "exists".
    provider: Literal["create", "exists"] = "create"
    # The qualifier given to `cdk bootstrap`; this is its default.
    qualifier: str = "hnb659fds"


PIPELINE = Pipeline(repository=PLACEHOLDER)

# A user or an organisation. "_" is in the names of managed users, before their enterprise's short code.
_OWNER = r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}"
# Letters, digits, hyphens, underscores and dots, any of them first: ".github", "_infra". "." and ".." are no names.
_REPOSITORY = r"(?!\.{1,2}(?:@|\Z))[A-Za-z0-9._-]{1,100}"


def check(pipeline: Pipeline) -> None:
    """Raise ConfigurationError with one line for each value that is not allowed."""
    problems = list(_problems(pipeline))
    if problems:
        raise ConfigurationError("\n".join(problems))


def _problems(pipeline: Pipeline) -> Iterator[str]:
    named = re.fullmatch(rf"{_OWNER}/{_REPOSITORY}|{_OWNER}@\d+/{_REPOSITORY}@\d+", pipeline.repository)
    if not named or pipeline.repository == PLACEHOLDER:
        yield (
            f"repository is {pipeline.repository!r}; allowed: yours in cdk_app/pipelines/repository.py, "
            "such as 'octo-org@123456/octo-repo@456789' or 'octo-org/octo-repo'"
        )
    if pipeline.provider not in ("create", "exists"):
        yield f"provider is {pipeline.provider!r}; allowed: 'create' or 'exists'"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,10}", pipeline.qualifier):
        yield f"qualifier is {pipeline.qualifier!r}; allowed: up to 10 letters, digits, hyphens and underscores"
