"""Who competes, how each is built and how each is started. Knows nothing of measuring.

What has to be built goes to build/bench and is kept there; a peer whose tools are not on this machine is skipped
and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cdk_app.bundle import certificates, target_python
from cdk_app.bundle.build import CERTIFICATES

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"
BUILD = ROOT / "build" / "bench"
BUNDLE = ROOT / "build" / "lambda"
# What Lambda's Python runtime brings (docs.aws.amazon.com/lambda/latest/dg/lambda-python.html): the SDK and what it needs.
IN_THE_RUNTIME = {"boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six.py"}
# The version the layer of the same age has (crates.io/crates/lambda_web_adapter; 1.0 is a release candidate).
WEB_ADAPTER = "0.9.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Competitor:
    """`start` is the command and `environment` what it needs beyond what every function gets.

    `package` is what is uploaded for it, in bytes, zipped; `own` is that without what the managed runtime has, too.
    """

    name: str
    start: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    package: int
    own: int


class CannotBuildError(Exception):
    """A peer cannot be built here; the text says what is missing."""


def python() -> Path:
    """The Lambda's own Python where there is one, else this one: the same for every Python competitor."""
    return target_python.find() or Path(sys.executable)


def floor() -> Competitor:
    relay = PEERS / "floor" / "relay.py"
    size = _zipped(relay.parent)
    return Competitor(name="floor", start=(str(python()), "-I", "-S", str(relay)), package=size, own=size)


def relay() -> Competitor:
    """The bundle as it is deployed, without limits: what the peers do, and the key from Secrets Manager."""
    return _relay("relay", {})


def relay_with_limits() -> Competitor:
    """The bundle with admission, against a table that answers at once."""
    return _relay("relay+limits", {"TABLE_NAME": "bench"})


def _relay(name: str, environment: dict[str, str]) -> Competitor:
    if not (BUNDLE / "bootstrap").exists():
        raise CannotBuildError("run `make bundle` first")
    # A copy, because the benchmark's own certificate has to be added to those that it trusts.
    copy = BUILD / "relay"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(BUNDLE, copy)
    certificates.add(certificate()[0], copy / CERTIFICATES)
    return Competitor(
        name=name,
        start=(str(copy / "bootstrap"), str(python()), "/var/runtime/bootstrap.py"),
        environment={"LAMBDA_TASK_ROOT": str(copy), **environment},
        package=_zipped(BUNDLE),
        own=_zipped(BUNDLE, *(f"{top.name}/**/*" if top.is_dir() else top.name for top in _own(BUNDLE))),
    )


def _own(bundle: Path) -> list[Path]:
    """What of a bundle the runtime does not have; compiled files and descriptions go with their package."""
    return [top for top in bundle.iterdir() if top.name.split("-")[0] not in IN_THE_RUNTIME]


def node() -> Competitor:
    """AWS's streaming client for Node. On Lambda it is part of the runtime: only the handler is uploaded."""
    npm = shutil.which("npm")
    if npm is None:
        raise CannotBuildError("needs node and npm")
    peer, built = PEERS / "node", BUILD / "node"
    client = built / "node_modules" / "aws-lambda-ric"
    if _stale(built, peer / "package-lock.json"):
        _copy(built, peer / "package.json", peer / "package-lock.json", ROOT / ".npmrc")
        _run([npm, "ci", "--no-audit", "--no-fund"], "node", cwd=built)
        if not (client / "rapid-client.node").exists():
            raise CannotBuildError("its native part was not built (needs cmake, make, a C++ compiler)")
        _built(built, peer / "package-lock.json")
    start = (str(shutil.which("node")), str(client / "index.mjs"), "index.handler")
    environment = {"LAMBDA_TASK_ROOT": str(peer), "_HANDLER": "index.handler"}
    size = _zipped(peer, "index.mjs")
    return Competitor(name="node", start=start, environment=environment, package=size, own=size)


def httpx_asyncio() -> Competitor:
    peer = PEERS / "httpx_asyncio" / "relay.py"
    packages = ("httpx", "httpcore", "h11", "anyio", "idna", "certifi")
    size = _zipped(peer.parent) + _zipped(_site_packages(), *(f"{name}/**/*" for name in packages))
    return Competitor(
        name="httpx asyncio", start=(str(_virtual_environment()), "-I", str(peer)), package=size, own=size
    )


def web_adapter() -> Competitor:
    """Lambda Web Adapter with FastAPI: a second process, a layer and a web framework."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise CannotBuildError("needs cargo")
    built = BUILD / "web_adapter"
    adapter = built / "bin" / "lambda-adapter"
    if not adapter.exists():
        print("building Lambda Web Adapter with cargo: some minutes, once ...", file=sys.stderr)
        where = ["--root", str(built), "--target-dir", str(built / "target")]
        _run([cargo, "install", "lambda_web_adapter", "--version", WEB_ADAPTER, "--locked", *where], "web_adapter")
        shutil.rmtree(built / "target", ignore_errors=True)
    packages = _site_packages()
    wanted = (
        "fastapi", "starlette", "pydantic", "pydantic_core", "uvicorn", "click", "h11", "httpx", "httpcore", "anyio",
        "idna", "certifi", "typing_inspection", "annotated_types", "annotated_doc",
    )  # fmt: skip
    size = sum(_zipped(packages, f"{name}/**/*") for name in wanted) + _zipped(adapter.parent, adapter.name)
    return Competitor(
        name="web adapter",
        start=(str(PEERS / "web_adapter" / "bootstrap"), str(adapter), str(_virtual_environment())),
        environment={"AWS_LWA_INVOKE_MODE": "response_stream"},
        package=size,
        own=size,
    )


ALL: tuple[Callable[[], Competitor], ...] = (floor, relay, relay_with_limits, node, httpx_asyncio, web_adapter)


def certificate() -> tuple[Path, Path]:
    """A certificate for localhost and its key, made by openssl; every competitor is told to trust it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise CannotBuildError("needs openssl")
    made, key = BUILD / "certificate.pem", BUILD / "key.pem"
    if not made.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        how = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "365",
            "-subj",
            "/CN=localhost",
        ]
        what = ["-addext", "subjectAltName=DNS:localhost", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
        _run([openssl, "req", "-x509", *how, *what, "-keyout", str(key), "-out", str(made)], "openssl")
    return made, key


def _virtual_environment() -> Path:
    lock, built = ROOT / "bench" / "requirements.txt", BUILD / "python"
    inside = built / "bin" / "python"
    if _stale(built, lock):
        print("installing the Python peers ...", file=sys.stderr)
        shutil.rmtree(built, ignore_errors=True)
        _run([str(python()), "-m", "venv", str(built)], "venv")
        pip = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", str(lock)], "pip")
        _built(built, lock)
    return inside


def _site_packages() -> Path:
    _virtual_environment()
    return next((BUILD / "python").glob("lib/python3*/site-packages"))


def _stale(built: Path, lock: Path) -> bool:
    copy = built / f".{lock.name}"
    return not copy.exists() or copy.read_bytes() != lock.read_bytes()


def _built(built: Path, lock: Path) -> None:
    shutil.copy(lock, built / f".{lock.name}")


def _copy(into: Path, *files: Path) -> None:
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for file in files:
        shutil.copy(file, into)


def _run(command: list[str], name: str, cwd: Path = ROOT) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"{name}.log"
    with log.open("wb") as file:
        done = subprocess.run(command, cwd=cwd, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise CannotBuildError(f"{Path(command[0]).name} failed, see {log.relative_to(ROOT)}")


def _zipped(folder: Path, *patterns: str) -> int:
    """What these files take in a zip such as Lambda is given."""
    target = BUILD / "size.zip"
    BUILD.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        found = {path for pattern in patterns or ("**/*",) for path in folder.glob(pattern) if path.is_file()}
        for path in sorted(found):
            archive.write(path, path.relative_to(folder))
    return os.path.getsize(target)
