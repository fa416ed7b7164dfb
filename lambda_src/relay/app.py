"""The wiring: builds every part of the process from its settings. Nothing else does."""

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
from relay.settings import AwsSettings, ProcessSettings, Settings, SettingsError

if TYPE_CHECKING:
    import ssl

    from relay.aws.client import Client, Service
    from relay.limits.admission import Admission
    from relay.pricing.prices import PriceList


def main() -> int:
    """Runs the relay until it is asked to stop. Returns the exit code: 0, or 1 when it cannot serve."""
    process = ProcessSettings.from_environ(os.environ)
    log = Log(process.log_level)
    stop = Stop()
    api = RuntimeApi(process.runtime_api, stop_fd=stop.fd)
    try:
        return _serve(api, log, stop)
    except SettingsError as error:
        log.error("settings", detail=str(error))
        return _fail_init(api, "Runtime.BadSettings", str(error))
    except Exception as error:  # whatever it is, Lambda has to show it as an init error
        log.error("init_failed", failure=error)
        return _fail_init(api, "Runtime.InitFailed", f"the relay could not start: {type(error).__name__}")


def _serve(api: RuntimeApi, log: Log, stop: Stop) -> int:
    # Imported here, so that what fails in an import becomes an init error that Lambda shows.
    from relay.aws.client import SECRETS_MANAGER
    from relay.aws.secrets_manager import SecretsManager
    from relay.doors import DOORS
    from relay.doors.origin_secret import OriginSecretCheck
    from relay.handler import Relay
    from relay.lambda_runtime.loop import Runtime
    from relay.lambda_runtime.reply import Timing
    from relay.openai.client import Upstream
    from relay.openai.credentials import ApiKeys

    settings = Settings.from_environ(os.environ)
    stop.on(signal.SIGTERM)
    openai_tls, aws_tls = _tls_contexts(settings)
    secrets = _aws_client(SECRETS_MANAGER, settings.aws.secrets_manager_url, settings.aws, aws_tls)
    openai_secret = SecretsManager(secrets, settings.openai_secret_arn, stop_fd=stop.fd)
    edge_secret = SecretsManager(secrets, settings.edge_secret_arn, stop_fd=stop.fd)
    handler = Relay(
        settings=settings,
        upstream=Upstream(settings.openai_base_url, openai_tls),
        keys=ApiKeys(openai_secret.read, warn=lambda cause: log.warn("key_not_refreshed", cause=cause)),
        edge=OriginSecretCheck(
            settings.edge, read=edge_secret.read, read_previous=edge_secret.read_previous, clock=time.monotonic
        ),
        admission=_admission(settings, aws_tls, log, stop.fd),
        log=log,
        doors=(*DOORS, settings.api.door()) if settings.api else DOORS,
    )
    timing = Timing(heartbeat_seconds=settings.heartbeat_seconds, reserve_seconds=settings.deadline_reserve_seconds)
    gc.freeze()
    gc.enable()
    return Runtime(api, handler, log, stop, timing=timing).run()


def _tls_contexts(settings: Settings) -> "tuple[ssl.SSLContext | None, ssl.SSLContext | None]":
    """How OpenAI and how AWS are verified; None where nothing is reached over TLS."""
    from relay.net import tls

    secure = any(url.startswith("https:") for url in (settings.openai_base_url, settings.aws.secrets_manager_url))
    bundled = tls.context() if secure else None
    if not settings.aws.ca_file:
        return bundled, bundled
    # As in all AWS SDKs: for endpoints of one's own with a certificate of one's own. It does not vouch for OpenAI.
    try:
        return bundled, tls.context(settings.aws.ca_file)
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise SettingsError(f"AWS_CA_BUNDLE: no certificates in {settings.aws.ca_file!r}: {cause}") from error


def _aws_client(service: "Service", url: str, settings: AwsSettings, tls_context: "ssl.SSLContext | None") -> "Client":
    from relay.aws.client import Client
    from relay.aws.signing import credential_source

    credentials = credential_source(settings.access_key_id, settings.secret_access_key, settings.session_token)
    return Client(service, url=url, region=settings.region, credentials=credentials, tls_context=tls_context)


def _admission(settings: Settings, tls_context: "ssl.SSLContext | None", log: Log, stop_fd: int) -> "Admission":
    from relay.aws.client import DYNAMODB
    from relay.aws.dynamodb import DynamoDb
    from relay.ledger.ledger import Ledger
    from relay.ledger.table import Table
    from relay.limits.admission import Admission

    def clock() -> int:
        return int(time.time() * 1000)

    ledger = None
    if settings.table_name:
        client = _aws_client(DYNAMODB, settings.aws.dynamodb_url, settings.aws, tls_context)
        table = Table(
            DynamoDb(client), name=settings.table_name, monotonic=time.monotonic, sleep=time.sleep, stop_fd=stop_fd
        )
        ledger = Ledger(table, clock=clock, retention_days=settings.usage_days)
    return Admission(
        policies=settings.caller_policies,
        prices=price_list(settings),
        ledger=ledger,
        clock=clock,
        log=log,
        settle_failure=settings.settle_failure,
    )


def price_list(settings: Settings) -> "PriceList":
    """The prices of this process: the list that comes with it, what the environment says otherwise, at its host."""
    from relay.pricing import prices

    listed = prices.parse(Path(prices.__file__).with_name("prices.json").read_text(encoding="utf-8"))
    return listed.replaced_by(settings.prices).at_host(settings.openai_base_url)


def _fail_init(api: RuntimeApi, error_type: str, message: str) -> int:
    try:
        api.fail_init(error_type, message)
    except (DeliveryError, OSError) as error:
        print(f"{error_type}: {message} ({error})", file=sys.stderr)
    return 1
