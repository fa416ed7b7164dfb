"""The relay's locked packages, fetched for Lambda, pruned, compiled and proven importable. Knows pip; no relay source.

A cache entry is filled only with packages that passed every check, so a second bundle needs no network and no checks.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cdk_app.bundle import target_python
from cdk_app.bundle.errors import BundleError

# arm64 on Amazon Linux 2023 (glibc 2.34). Wheels only: a source package would be built for this machine instead.
PIP_TARGET = ("--platform", "manylinux2014_aarch64", "--implementation", "cp", "--only-binary=:all:")

# Not compiled in: where Lambda unpacks the zip; tracebacks from compiled files name this path, not the build machine's.
TASK_ROOT = "/var/task"

# What the packages bring and the relay never opens.
UNNEEDED = (
    "bin",  # command line tools
    "**/*.pth",  # runs code at start-up; the relay starts with -S and would not see it
    "**/tests",
    "**/py.typed",
    "anyio*",  # httpx needs it for asyncio only and does without: the relay is synchronous
    "typing_extensions*",  # anyio's; the others name it for type checkers only
)
# Distributions that UNNEEDED removes as a whole.
LEFT_OUT = frozenset({"anyio", "typing-extensions"})
# Of each .dist-info there remain METADATA and the licences: they tell scanners and lawyers what is inside.

# Of the machine's pip settings only those that say where packages come from and how to get there. Others (user, target,
# prefix, platform, dry-run, no-binary, constraint ...) would change what is fetched or where it is put.
PIP_SETTINGS = frozenset(
    {
        *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "client-cert", "proxy"),
        *("timeout", "default-timeout", "retries", "keyring-provider", "cache-dir", "no-cache-dir"),
    }
)

# Imports each module named in its arguments; prints one line for the first that fails, nothing when all succeed.
_IMPORT = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except BaseException as error:  # a module that ends the interpreter has failed as well
        print(f"{name}: {type(error).__name__}: {error}".replace("\\n", " "))
        break
"""


def cached(requirements: Path, cache: Path, interpreter: Path | None) -> Path:
    """Return the folder of the packages that `requirements` locks, from `cache` or fetched now.

    `interpreter` compiles them; None leaves them uncompiled. Raises BundleError.
    """
    recipe = hashlib.sha256(requirements.read_bytes() + Path(__file__).read_bytes())
    recipe.update(_version(interpreter).encode())
    entry = cache / f"packages-{recipe.hexdigest()[:16]}"
    if entry.exists():
        return entry
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        fresh = Path(scratch, "packages")
        _fetch(requirements, fresh)
        modules = _modules(requirements, fresh)
        _prune(fresh)
        if interpreter is not None:
            compile_all(fresh, interpreter)
        check_importable(fresh, modules, interpreter or Path(sys.executable))
        try:
            fresh.rename(entry)
        except OSError:  # another process was first, with the same content
            if not entry.exists():
                raise
    return entry


def compile_all(directory: Path, interpreter: Path) -> None:
    """Compile every .py below `directory`. Raises BundleError.

    With an unchecked hash: /var/task is read-only, so a stale file cannot occur and no source needs to be looked at.
    """
    how = ["-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(directory), "-p", TASK_ROOT]
    done = subprocess.run(
        [interpreter, "-I", "-S", "-m", "compileall", *how, directory],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BundleError(f"cannot be compiled: {' '.join(done.stdout.split())}")


def check_importable(directory: Path, modules: list[str], interpreter: Path) -> None:
    """Import each of `modules` from `directory` as the relay would (-I -S). Raises BundleError naming the first failure."""
    ask = [str(interpreter), "-I", "-S", "-B", "-c", _IMPORT, str(directory), *modules]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    problem = done.stdout.strip() or (f"{interpreter} ended with {done.returncode}" if done.returncode else "")
    if problem:
        raise BundleError(f"the fetched packages cannot be imported: {problem}; check requirements.txt and UNNEEDED")


def _version(interpreter: Path | None) -> str:
    if interpreter is None:
        return "not compiled"
    ask = [str(interpreter), "-I", "-S", "-c", "import sys; print(sys.version)"]
    return f"{target_python.VERSION} {subprocess.check_output(ask, text=True)}"


def _fetch(requirements: Path, into: Path) -> None:
    print("fetching the relay's packages (once per lock file) ...", file=sys.stderr)
    environment = pip_environment(os.environ)
    what = ["--require-hashes", "--no-deps", "--python-version", target_python.VERSION, *PIP_TARGET]
    command = ["install", "--quiet", "--no-compile", *what, "--target", str(into), "-r", str(requirements)]
    done = _pip(command, environment)
    if done.returncode != 0:
        reasons = done.stderr.strip().splitlines() or ["no reason given"]
        offline = " (the package index could not be reached)" if "NewConnectionError" in done.stderr else ""
        raise BundleError(f"pip could not fetch the packages of {requirements.name}: {reasons[-1]}{offline}")


def pip_environment(machine: Mapping[str, str]) -> dict[str, str]:
    """Return `machine`'s environment without its PYTHON* variables and with no pip settings but PIP_SETTINGS.

    Settings come from pip's configuration files and PIP_* variables, in pip's own order. Raises BundleError when pip
    cannot read them.
    """
    allowed = {"PIP_CONFIG_FILE", *(f"PIP_{setting.upper().replace('-', '_')}" for setting in PIP_SETTINGS)}
    clean = {
        name: value for name, value in machine.items() if name in allowed or not name.startswith(("PIP_", "PYTHON"))
    }
    listed = _pip(["config", "list"], clean)
    if listed.returncode != 0:
        reasons = listed.stderr.strip().splitlines() or ["no reason given"]
        raise BundleError(f"pip cannot read its configuration: {reasons[-1]}; see: python -m pip config debug")
    return {**clean, **_allowed_settings(listed.stdout), "PIP_CONFIG_FILE": os.devnull}


def _allowed_settings(listed: str) -> dict[str, str]:
    """The lines of `pip config list` (global.index-url='https://...') as variables; sections later here win over earlier."""
    allowed: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listed.splitlines():
            name, equals, value = line.partition("=")
            setting = name.removeprefix(f"{section}.")
            if equals and setting != name and setting in PIP_SETTINGS:
                allowed[f"PIP_{setting.upper().replace('-', '_')}"] = str(ast.literal_eval(value))
    return allowed


def _pip(arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    # -I: neither the current folder nor PYTHON* variables nor the user's own packages take part.
    command = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)


def _modules(requirements: Path, packages: Path) -> list[str]:
    """The top-level modules of every package of the lock that is shipped. Raises BundleError when a package is missing."""
    modules: set[str] = set()
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", requirements.read_text(encoding="utf-8"), re.MULTILINE):
        if _normalised(name) in LEFT_OUT:
            continue
        records = [
            p / "RECORD" for p in packages.glob("*.dist-info") if _distribution(p) == (_normalised(name), version)
        ]
        if not records:
            raise BundleError(
                f"pip did not fetch {name} {version} of {requirements.name}; delete build/cache, try again"
            )
        modules |= _top_level(records[0].read_text(encoding="utf-8"))
    return sorted(modules)


def _distribution(folder: Path) -> tuple[str, str]:
    name, _, version = folder.name.removesuffix(".dist-info").partition("-")
    return _normalised(name), version


def _normalised(name: str) -> str:
    """A project's name as packaging.python.org/specifications/name-normalization writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _top_level(record: str) -> set[str]:
    """The modules that a wheel's RECORD lists. Compiled ones are for arm64 and cannot be imported elsewhere."""
    files = [line.split(",")[0] for line in record.splitlines()]
    compiled = {file.split("/")[0].split(".")[0] for file in files if file.endswith(".so")}
    pure = {file.removesuffix("/__init__.py") for file in files if re.fullmatch(r"\w+/__init__\.py", file)}
    pure |= {file.removesuffix(".py") for file in files if re.fullmatch(r"\w+\.py", file)}
    return pure - compiled


def _prune(packages: Path) -> None:
    for pattern in UNNEEDED:
        for path in list(packages.glob(pattern)):
            _remove(path)
    for path in list(packages.glob("*.dist-info/*")):
        if path.name not in ("METADATA", "licenses") and not path.name.startswith(("LICENSE", "NOTICE")):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
