"""What the deployed function's role may do, asked of IAM by doing it: what the relay needs, and what its neighbours have.

Each attempt is one real call under the role's own credentials. Knows boto3 and the names of what was deployed. The
function's log is not tried: MiniStack judges it by an ARN without the ":*" that AWS's has; the template's tests look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

Client = Callable[[str], Any]
"""A service's boto3 client under the role."""

REFUSED = ("AccessDenied", "AccessDeniedException")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What the stack made, and what lies beside it: a secret and a table of somebody else's."""

    key: str
    origin_secret: str
    table: str
    neighbour_secret: str
    neighbour_table: str
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call and whether it has to work. `worked` is None when it failed for another reason, which `seen` says."""

    what: str
    wanted: bool
    worked: bool | None
    seen: str

    @property
    def as_it_should_be(self) -> bool:
        return self.worked is self.wanted


def attempts(client: Client, deployed: Deployed) -> Iterator[Attempt]:
    """All of them, in turn."""
    for what, wanted, call in (*_needed(client, deployed), *_refused(client, deployed)):
        try:
            call()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            yield Attempt(what=what, wanted=wanted, worked=False if code in REFUSED else None, seen=code)
        else:
            yield Attempt(what=what, wanted=wanted, worked=True, seen="done")


Planned = tuple[str, bool, Callable[[], Any]]


def _needed(client: Client, deployed: Deployed) -> Iterator[Planned]:
    secrets, table = client("secretsmanager"), client("dynamodb")
    item = {"pk": {"S": "local-deploy"}, "sk": {"S": "state"}}
    own = {"TableName": deployed.table}
    yield "read the OpenAI key", True, lambda: secrets.get_secret_value(SecretId=deployed.key)
    yield "read the origin secret", True, lambda: secrets.get_secret_value(SecretId=deployed.origin_secret)
    yield "write an item of the table", True, lambda: table.put_item(**own, Item=item)
    yield "read it", True, lambda: table.get_item(**own, Key=item)
    change = {"UpdateExpression": "SET seen = :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
    yield "change it", True, lambda: table.update_item(**own, Key=item, **change)


def _refused(client: Client, deployed: Deployed) -> Iterator[Planned]:
    secrets, table = client("secretsmanager"), client("dynamodb")
    item = {"pk": {"S": "local-deploy"}, "sk": {"S": "state"}}
    own, other = {"TableName": deployed.table}, {"TableName": deployed.neighbour_table}
    neighbour = {"SecretId": deployed.neighbour_secret}
    yield "read another secret", False, lambda: secrets.get_secret_value(**neighbour)
    yield "change the OpenAI key", False, lambda: secrets.put_secret_value(SecretId=deployed.key, SecretString="x")
    yield "list the secrets", False, secrets.list_secrets
    yield "scan the table", False, lambda: table.scan(**own)
    yield "delete an item", False, lambda: table.delete_item(**own, Key=item)
    yield "delete the table", False, lambda: table.delete_table(**own)
    yield "read another table", False, lambda: table.get_item(**other, Key=item)
    yield "write to another table", False, lambda: table.put_item(**other, Item=item)
    yield "list the tables", False, table.list_tables
    yield "call itself", False, lambda: client("lambda").invoke(FunctionName=deployed.function)
    yield "read who there is in IAM", False, lambda: client("iam").list_roles()
    yield "read other buckets", False, lambda: client("s3").list_buckets()
