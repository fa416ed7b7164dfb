"""Wires everything; nothing else does."""

import gc
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from relay.errors import DeliveryError
from relay.lambda_runtime.client import RuntimeApi
from relay.lambda_runtime.shutdown import Stop
from relay.log import Log
from relay.settings import Settings, SettingsError

if TYPE_CHECKING:
    import ssl

    from relay.limits.admission import Admission


def main() -> int:
    """Runs the relay until it is told to stop; 1 when it cannot serve."""
    log = Log(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO").upper())
    stop = Stop()
    api = RuntimeApi(os.environ.get("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), stop_fd=stop.fd)
    try:
        return _serve(api, log, stop)
    except SettingsError as error:
        log.error("settings", detail=str(error))
        return _fail_init(api, "Runtime.BadSettings", str(error))
    except Exception as error:
        log.error("init_failed", failure=error)
        return _fail_init(api, "Runtime.InitFailed", f"the relay could not start: {type(error).__name__}")


def _serve(api: RuntimeApi, log: Log, stop: Stop) -> int:
    # Imported here, so that what fails in an import becomes an init error that Lambda shows.
    from relay.aws import client as aws
    from relay.aws.credentials import credentials_from
    from relay.aws.secrets_manager import SecretsManager
    from relay.doors.function_url import to_prelude
    from relay.doors.origin_secret import OriginSecretCheck
    from relay.handler import Relay
    from relay.lambda_runtime.loop import Runtime
    from relay.lambda_runtime.reply import Timing
    from relay.net import tls
    from relay.openai.credentials import Keys
    from relay.openai.transport import Upstream

    settings = Settings.from_environ(os.environ)
    stop.on(signal.SIGTERM)
    url = aws.endpoint(aws.SECRETS_MANAGER, os.environ)
    secure = url.startswith("https:") or settings.openai_base_url.startswith("https:")
    tls_context = tls.context() if secure else None
    # As all AWS SDKs do; for endpoints of one's own with a certificate of one's own. OpenAI is verified as ever.
    ca_file = os.environ.get("AWS_CA_BUNDLE")
    aws_tls = tls.context(ca_file) if ca_file else tls_context
    secrets = aws.Client(
        aws.SECRETS_MANAGER,
        url=url,
        region=os.environ.get("AWS_REGION", ""),
        credentials=credentials_from(os.environ),
        tls_context=aws_tls,
    )
    handler = Relay(
        settings=settings,
        upstream=Upstream(settings.openai_base_url, tls_context),
        keys=Keys(
            SecretsManager(secrets, settings.openai_secret_arn, stop_fd=stop.fd).read,
            warn=lambda cause: log.warn("key_not_refreshed", cause=cause),
        ),
        edge=OriginSecretCheck(
            settings.edge, SecretsManager(secrets, settings.edge_secret_arn, stop_fd=stop.fd), time.monotonic
        ),
        admission=_admission(settings, aws_tls, log),
        log=log,
    )
    timing = Timing(heartbeat_seconds=settings.heartbeat_seconds, reserve_seconds=settings.deadline_reserve_seconds)
    gc.freeze()
    gc.enable()
    return Runtime(api, handler, log, stop, timing=timing, to_prelude=to_prelude).run()


def _admission(settings: Settings, tls_context: "ssl.SSLContext | None", log: Log) -> "Admission":
    from relay.aws import client as aws
    from relay.aws.credentials import credentials_from
    from relay.aws.dynamodb import DynamoDb
    from relay.ledger.ledger import Ledger
    from relay.ledger.table import Table
    from relay.limits import prices
    from relay.limits.admission import Admission

    def clock() -> int:
        return int(time.time() * 1000)

    ledger = None
    if settings.table_name:
        client = aws.Client(
            aws.DYNAMODB,
            url=aws.endpoint(aws.DYNAMODB, os.environ),
            region=os.environ.get("AWS_REGION", ""),
            credentials=credentials_from(os.environ),
            tls_context=tls_context,
        )
        table = Table(DynamoDb(client), name=settings.table_name, monotonic=time.monotonic, sleep=time.sleep)
        ledger = Ledger(table, clock=clock, retention_days=settings.usage_days)
    listed = prices.parse(Path(prices.__file__).with_name("prices.json").read_text(encoding="utf-8"))
    return Admission(
        policies=settings.caller_policies,
        prices=listed.replaced_by(settings.prices),
        ledger=ledger,
        clock=clock,
        log=log,
        settle_failure=settings.settle_failure,
    )


def _fail_init(api: RuntimeApi, error_type: str, message: str) -> int:
    try:
        api.fail_init(error_type, message)
    except (DeliveryError, OSError) as error:
        print(f"{error_type}: {message} ({error})", file=sys.stderr)
    return 1
