"""A fleet on paper: users, stream length and tokens a second -> concurrency, cost, and the limit that is hit first.

Knows AWS's published quotas and prices; they are inputs, to be changed with --set. `python -m bench.scale --help`.
What it cannot know is OpenAI's limits for your organisation: give them with --set openai_rpm=... openai_tpm=...
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from dataclasses import dataclass

from bench.report import aligned, short


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The busiest minute, and how much of the month it stands for."""

    users: int = 1000
    requests_per_minute: float = 0.5  # of one user
    callers: int = 10  # IAM principals behind which the users are
    prompt_tokens: float = 600
    tokens: float = 400  # of an answer, mean
    tokens_per_second: float = 80
    first_token_seconds: float = 0.6
    bytes_per_token: float = 250  # one event of the stream
    busy_share: float = 0.2  # mean load over the month as a share of the busiest minute

    @property
    def requests_per_second(self) -> float:
        return self.users * self.requests_per_minute / 60

    @property
    def seconds(self) -> float:
        """Of one stream, mean."""
        return self.first_token_seconds + self.tokens / self.tokens_per_second

    @property
    def streams(self) -> float:
        """At the same time, mean (Little's law)."""
        return self.requests_per_second * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Quotas and prices. Sources: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, scaling-behavior.html,
    urls-configuration.html; amazondynamodb/latest/developerguide/bp-partition-key-design.html; aws.amazon.com/*/pricing
    (us-east-1, list prices of 2025: look them up again).
    """

    concurrency: float = 900  # of an account's 1000, where 100 stay unreserved; a new account has 10
    scaling_per_second: float = 100  # new environments: 1,000 every 10 s for each function
    writes_per_second: float = 1000  # of one DynamoDB partition, that is, of one caller
    writes_per_request: float = 2  # reserve and settle
    openai_rpm: float = 10_000
    openai_tpm: float = 10_000_000
    memory_gb: float = 0.25  # cdk_app/config/environment.py's default
    cpu_per_token_ms: float = 0.15  # measured: docs/performance.md
    cpu_per_request_ms: float = 1.0
    resident_gb: float = 0.055
    gb_second: float = 0.0000133334  # Lambda on arm64
    request: float = 0.20e-6
    write: float = 0.625e-6  # DynamoDB on demand
    log_gb: float = 0.50
    log_bytes: float = 700  # of one request: one line of ours, two of Lambda's
    waf_request: float = 0.60e-6
    cdn_request: float = 1.0e-6
    cdn_gb: float = 0.085
    fixed: float = 15.0  # a WebACL with its rules, a secret, alarms, about; counted in docs/cost.md
    # By the month, and what else docs/cost.md is about.
    secret: float = 0.40  # also for each replica
    web_acl: float = 5.0
    web_acl_rule: float = 1.0  # also for each group of AWS's
    alarm_metric: float = 0.10
    dashboard: float = 3.0
    custom_metric: float = 0.30
    api_request: float = 3.50e-6  # of a REST API; a streamed response counts again for each further 10 MB
    authorizer_seconds: float = 0.05  # of a key that is not remembered, at 256 MB; an estimate
    internet_gb: float = 0.09  # from the function to a caller without CloudFront between
    edge_log_bytes: float = 2500  # of one request: WAF's record and CloudFront's, an estimate
    prompt_token: float = 0.15e-6  # gpt-4o-mini
    answer_token: float = 0.60e-6
    instance_hour: float = 0.0816  # m7g.large for Lambda Managed Instances
    instance_vcpus: float = 2
    instance_gb: float = 8
    instance_fee: float = 1.15
    instances_at_least: float = 3  # one in each zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    name: str
    used: float
    has: float

    @property
    def share(self) -> float:
        return self.used / self.has


SECONDS_PER_MONTH = 730 * 3600


def busiest(mean: float) -> float:
    """What a Poisson-distributed number with this mean stays below in 999 of 1000 moments (normal approximation)."""
    return mean + 3.09 * math.sqrt(mean)


def limits(load: Load, site: Site) -> list[Limit]:
    """Every limit between the callers and OpenAI, the one that is hit first at the top."""
    rate = load.requests_per_second
    found = [
        Limit(name="concurrency (environments)", used=busiest(load.streams), has=site.concurrency),
        Limit(name="Function URL rate (10 x concurrency)", used=busiest(rate), has=10 * site.concurrency),
        # After an idle night all environments are new. 1,000 may start at once, and more as the seconds pass; all
        # have to be there when the first stream ends and its environment can be used again.
        Limit(
            name="scaling rate (after idleness)",
            used=load.streams,
            has=site.scaling_per_second * (10 + load.seconds),
        ),
        Limit(
            name="DynamoDB partition of the busiest caller",
            # Zipf: with n callers the first has 1/H(n) of the requests.
            used=rate * site.writes_per_request / sum(1 / n for n in range(1, load.callers + 1)),
            has=site.writes_per_second,
        ),
        Limit(name="OpenAI requests a minute", used=rate * 60, has=site.openai_rpm),
        Limit(name="OpenAI tokens a minute", used=rate * 60 * (load.prompt_tokens + load.tokens), has=site.openai_tpm),
        # Of 1,769 MB Lambda makes one vCPU (docs: configuration-memory.html).
        Limit(
            name="CPU of one environment",
            used=load.tokens_per_second * site.cpu_per_token_ms / 1000,
            has=site.memory_gb * 1024 / 1769,
        ),
        # 2 MB/s after the first 6 MB (docs: configuration-response-streaming.html).
        Limit(name="bandwidth of one stream, bytes/s", used=load.tokens_per_second * load.bytes_per_token, has=2e6),
    ]
    return sorted(found, key=lambda limit: -limit.share)


def blocked(streams: float, concurrency: int) -> float:
    """The share of requests that Lambda refuses with 429 (Erlang B: Poisson arrivals, whatever the stream lengths)."""
    inverse = 1.0
    for n in range(1, concurrency + 1):
        inverse = 1 + inverse * n / streams
    return 1 / inverse


def costs(load: Load, site: Site) -> dict[str, float]:
    """Dollars a month."""
    requests = load.requests_per_second * load.busy_share * SECONDS_PER_MONTH
    gigabytes = requests * load.tokens * load.bytes_per_token / 1e9
    return {
        "Lambda": requests * (load.seconds * site.memory_gb * site.gb_second + site.request),
        "DynamoDB": requests * site.writes_per_request * site.write,
        "logs": requests * site.log_bytes / 1e9 * site.log_gb,
        "CloudFront, WAF": requests * (site.cdn_request + site.waf_request) + gigabytes * site.cdn_gb,
        "fixed": site.fixed,
        "OpenAI": requests * (load.prompt_tokens * site.prompt_token + load.tokens * site.answer_token),
    }


def streams_per_instance(load: Load, site: Site) -> int:
    """What one managed instance could carry with one process per stream, at half of its CPU."""
    busy = (load.tokens * site.cpu_per_token_ms + site.cpu_per_request_ms) / 1000 / load.seconds
    return int(min(0.5 * site.instance_vcpus / busy, 0.8 * site.instance_gb / site.resident_gb))


def managed(load: Load, site: Site) -> float:
    """Dollars a month for Lambda Managed Instances sized for the busiest moment, requests included."""
    instances = max(site.instances_at_least, math.ceil(busiest(load.streams) / streams_per_instance(load, site)))
    requests = load.requests_per_second * load.busy_share * SECONDS_PER_MONTH * site.request
    return instances * site.instance_hour * site.instance_fee * 730 + requests


def rows(load: Load, site: Site, users: list[int]) -> list[list[str]]:
    table = [
        [
            "users",
            "requests/s",
            "streams",
            "busiest",
            "refused",
            "AWS $/month",
            "OpenAI $/month",
            "managed $",
            "first limit",
        ]
    ]
    for count in users:
        one = dataclasses.replace(load, users=count)
        spent, first = costs(one, site), limits(one, site)[0]
        table.append(
            [
                str(count),
                short(one.requests_per_second),
                short(one.streams),
                f"{busiest(one.streams):.0f}",
                f"{blocked(one.streams, int(site.concurrency)):.2%}",
                f"{sum(spent.values()) - spent['OpenAI']:.0f}",
                f"{spent['OpenAI']:.0f}",
                f"{managed(one, site):.0f}",
                f"{first.name}: {first.share:.0%}",
            ]
        )
    return table


def changed(load: Load, site: Site, settings: list[str]) -> tuple[Load, Site]:
    """`name=value` applied to whichever of the two has that name. Raises ValueError naming one that neither has."""
    for setting in settings:
        name, _, value = setting.partition("=")
        if name in Load.__dataclass_fields__:
            load = dataclasses.replace(load, **{name: type(getattr(load, name))(value)})
        elif name in Site.__dataclass_fields__:
            site = dataclasses.replace(site, **{name: float(value)})
        else:
            raise ValueError(
                f"unknown: {name}; known: {', '.join([*Load.__dataclass_fields__, *Site.__dataclass_fields__])}"
            )
    return load, site


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[10, 100, 1_000, 10_000, 100_000])
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="any field of Load or Site")
    given = parser.parse_args(arguments)
    try:
        load, site = changed(Load(), Site(), given.set)
    except ValueError as wrong:
        print(wrong, file=sys.stderr)
        return 2
    print("\n".join(aligned(rows(load, site, given.users))))
    print(f"\nWith {load.users} users:")
    print(
        "\n".join(
            aligned(
                [
                    ["limit", "used", "of", "share"],
                    *([one.name, short(one.used), short(one.has), f"{one.share:.1%}"] for one in limits(load, site)),
                ]
            )
        )
    )
    print(
        "\n".join(
            aligned([["cost", "$/month"], *([name, f"{value:.2f}"] for name, value in costs(load, site).items())])
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
