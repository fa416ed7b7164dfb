"""What the relay costs, as the tables of docs/cost.md: idle, counted in the accepted templates, and per 1,000 answers.

The prices and the model are those of `bench.scale`. `make cost` writes the page.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.memory_sizes import smallest
from bench.scale import SECONDS_PER_MONTH, Load, Site, costs, limits

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cost.md"
TEMPLATES = ROOT / "tests" / "snapshots"
BEGIN, END = "<!-- what `make cost` writes -->\n", "<!-- end -->"

# What is billed by use alone. A kind of resource that is neither here nor in `_billed` stops the page, so that somebody
# looks up its price.
NOTHING_WHILE_IDLE = {
    "AWS::Lambda::Function",
    "AWS::Lambda::Url",
    "AWS::Lambda::Permission",
    "AWS::DynamoDB::Table",  # on demand; what it stores is less than a cent
    "AWS::Logs::LogGroup",
    "AWS::Logs::ResourcePolicy",
    "AWS::Logs::DeliverySource",
    "AWS::Logs::DeliveryDestination",
    "AWS::Logs::Delivery",
    "AWS::Logs::QueryDefinition",
    "AWS::Lambda::Alias",
    *(
        f"AWS::ApiGateway::{kind}"
        for kind in (
            *("RestApi", "Resource", "Method", "Deployment", "Stage", "Account", "Authorizer", "GatewayResponse"),
            *("DomainName", "BasePathMapping"),
        )
    ),
    "AWS::WAFv2::WebACLAssociation",
    "AWS::IAM::Role",
    "AWS::IAM::Policy",
    "AWS::IAM::ManagedPolicy",
    "AWS::CloudFront::Distribution",
    "AWS::CloudFront::Function",  # by the invocation: 0.10 a million
    "AWS::CloudFront::ResponseHeadersPolicy",
    "AWS::WAFv2::IPSet",
    "AWS::WAFv2::LoggingConfiguration",
    "AWS::SNS::Topic",
    "AWS::SNS::TopicPolicy",
    "AWS::SNS::Subscription",
    "AWS::StepFunctions::StateMachine",  # the spend watch: docs/monitoring.md; no environment here has one
    "AWS::Events::Rule",
    "AWS::Budgets::Budget",  # without actions
}
# Lambda's least; what this project has by default and around it; one whole vCPU.
MEMORY_MB = (128, 256, 512, 1024, 1769)
# What `python -m bench.memory_sizes --publish` has put there.
SIZES = ROOT / "docs" / "memory-sizes.json"
# 30 seconds: 0.6 to the first token, then 80 a second.
ANSWER = Load(users=1, requests_per_minute=1, tokens=29.4 * 80)


def idle(environment: str, templates: Path = TEMPLATES) -> Counter[str]:
    """How many of what is billed by the month the environment has, by the name of its price in `Site`."""
    counted: Counter[str] = Counter()
    for path in sorted(templates.joinpath(environment).glob("*.json")):
        for resource in json.loads(path.read_text())["Resources"].values():
            counted.update(_billed(resource["Type"], resource.get("Properties", {})))
    return counted


def _billed(kind: str, properties: dict[str, Any]) -> dict[str, int]:
    if kind == "AWS::SecretsManager::Secret":
        return {"secret": 1 + len(properties.get("ReplicaRegions", []))}
    if kind == "AWS::WAFv2::WebACL":
        return {"web_acl": 1, "web_acl_rule": len(properties["Rules"])}
    if kind == "AWS::CloudWatch::Alarm":
        read = [metric for metric in properties.get("Metrics", [{"MetricStat": {}}]) if "MetricStat" in metric]
        return {"alarm_metric": len(read)}
    if kind == "AWS::CloudWatch::Dashboard":
        return {"dashboard": 1}
    if kind not in NOTHING_WHILE_IDLE:
        raise ValueError(f"{kind}: what does it cost while idle? bench/cost.py has to know")
    return {}


def thousand(memory_mb: int, site: Site) -> dict[str, float]:
    """Dollars for 1,000 answers, by what they are paid for."""
    site = dataclasses.replace(site, memory_gb=memory_mb / 1024)
    requests = 1000
    a_minute = requests * 60 / (ANSWER.busy_share * SECONDS_PER_MONTH)
    spent = costs(dataclasses.replace(ANSWER, requests_per_minute=a_minute), site)
    gigabytes = requests * ANSWER.tokens * ANSWER.bytes_per_token / 1e9
    edge_logs = requests * site.edge_log_bytes / 1e9 * site.log_gb
    return {
        "Lambda": spent["Lambda"],
        "DynamoDB": spent["DynamoDB"],
        "logs": spent["logs"],
        "to the internet": gigabytes * site.internet_gb,
        "CloudFront, WAF, their logs": spent["CloudFront, WAF"] + edge_logs,
        "OpenAI": spent["OpenAI"],
    }


def figures(environments: list[str], site: Site) -> str:
    """The page's tables."""
    tables = [_idle_table(environments, site), _answers_table(site), _api_table(site)]
    if SIZES.exists():
        tables.append(_peers_table(json.loads(SIZES.read_text()), site))
    return "\n\n".join("\n".join(table) for table in tables) + "\n"


def _idle_table(environments: list[str], site: Site) -> Iterator[str]:
    counted = {name: idle(name) for name in environments}
    names = {
        "secret": "secrets, replicas included",
        "web_acl": "web ACL",
        "web_acl_rule": "its rules",
        "alarm_metric": "metrics that alarms watch",
        "dashboard": "dashboard",
    }
    yield "| idle, $ a month | " + " | ".join(environments) + " |"
    yield "|---|" + "---:|" * len(environments)
    for price, name in names.items():
        each = getattr(site, price)
        cells = (f"{many[price]} x {each:.2f} = {many[price] * each:.2f}" for many in counted.values())
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield "| function, table, logs, distribution, topic | " + " | ".join("0.00" for _ in environments) + " |"
    sums = (sum(getattr(site, price) * number for price, number in many.items()) for many in counted.values())
    yield "| **together** | " + " | ".join(f"**{total:.2f}**" for total in sums) + " |"


def _answers_table(site: Site) -> Iterator[str]:
    yield (
        "| 1,000 answers of 30 s, $ | Lambda | DynamoDB, logs | to the internet | **without edge** "
        "| CloudFront, WAF, their logs | **with edge** | CPU used |"
    )
    yield "|---:|" + "---:|" * 7
    for memory in MEMORY_MB:
        spent = thousand(memory, site)
        written = spent["DynamoDB"] + spent["logs"]
        direct = spent["Lambda"] + written + spent["to the internet"]
        edge = spent["Lambda"] + written + spent["CloudFront, WAF, their logs"]
        (cpu,) = (
            limit.share
            for limit in limits(ANSWER, dataclasses.replace(site, memory_gb=memory / 1024))
            if limit.name == "CPU of one environment"
        )
        cells = [spent["Lambda"], written, spent["to the internet"], direct, spent["CloudFront, WAF, their logs"], edge]
        money = [f"{cell:.3f}" for cell in cells]
        money[3], money[5] = f"**{money[3]}**", f"**{money[5]}**"
        yield f"| {memory} MB | " + " | ".join(money) + f" | {cpu:.0%} |"


def _api_table(site: Site) -> Iterator[str]:
    """What an API adds to an environment: counted in the template of the one that has all that an API may have."""
    counted = idle("api")
    rules, authorizer = counted["web_acl_rule"], site.request + site.authorizer_seconds * 0.25 * site.gb_second
    yield "| an API beside the Function URL, $ | |"
    yield "|---|---:|"
    yield f"| web ACL and its {rules} rules, a month | {site.web_acl + rules * site.web_acl_rule:.2f} |"
    yield f"| a million requests, up to 10 MB of response each: API Gateway | {site.api_request * 1e6:.2f} |"
    yield f"| WAF for them | {site.waf_request * 1e6:.2f} |"
    yield f"| a million keys that API Gateway does not remember: the authorizer | {authorizer * 1e6:.2f} |"
    yield f"| a GB of responses to the internet | {site.internet_gb:.2f} |"


def _peers_table(results: dict[str, Any], site: Site) -> Iterator[str]:
    """Each at the least memory at which it streams well, by the last run of `bench.memory_sizes`."""
    yield "| the relay and its peers | streams well from | Lambda, $ for 1,000 answers of 30 s |"
    yield "|---|---:|---:|"
    for name in results["competitors"]:
        least = smallest(results, name)
        if least is None:
            yield f"| {name} | no size up to {max(map(int, results['sizes']))} MB | - |"
        else:
            yield f"| {name} | {least} MB | {thousand(least, site)['Lambda']:.3f} |"


def page(text: str, tables: str) -> str:
    """The page with these tables between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{tables}{END}{after}"


def main() -> int:
    from cdk_app.environments import ENVIRONMENTS

    tables = figures([environment.name for environment in ENVIRONMENTS], Site())
    PAGE.write_text(page(PAGE.read_text(), tables))
    print(tables, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
