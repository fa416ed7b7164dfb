"""The packages: what of the machine's pip settings counts, and that nothing broken fills the cache."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path

import pytest

from cdk_app.bundle import build, locked_packages
from cdk_app.bundle.errors import BundleError

HERE = Path(sys.executable)


def wheel(folder: Path, name: str, files: dict[str, str], *, version: str = "1.0") -> Path:
    """A wheel as pip takes it."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def lock(folder: Path, *wheels: Path) -> Path:
    file = folder / "requirements.txt"
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels}
    file.write_text("".join(f"{path.name.split('-')[0]}==1.0 --hash=sha256:{hashes[path]}\n" for path in wheels))
    return file


def test_packages_that_can_be_imported_are_kept(index: Path, tmp_path: Path) -> None:
    good = wheel(index, "good", {"good/__init__.py": "", "good_too.py": "import good\n"})
    entry = locked_packages.cached(lock(tmp_path, good), tmp_path / "cache", None)
    assert {path.name for path in entry.iterdir()} == {"good", "good_too.py", "good-1.0.dist-info"}
    assert list(tmp_path.joinpath("cache").iterdir()) == [entry]


BROKEN = {
    "needs a module that is pruned": (
        {"bad/__init__.py": "import bad.tests\n", "bad/tests/__init__.py": ""},
        "bad.tests",
    ),
    "needs a package that is not locked": ({"bad/__init__.py": "import absent\n"}, "No module named 'absent'"),
    "needs a newer Python": ({"bad/__init__.py": "raise ImportError('Python 99 is needed')\n"}, "Python 99 is needed"),
    "ends the interpreter": ({"bad/__init__.py": "import sys\nsys.exit(3)\n"}, "bad: SystemExit: 3"),
    "ends it for good": ({"bad/__init__.py": "import os\nos._exit(3)\n"}, "ended with 3"),
    "one module of two": (
        {"bad/__init__.py": "", "bad_too.py": "raise ValueError('x\\ny')\n"},
        "bad_too: ValueError: x y",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_package_that_cannot_be_imported_fills_no_cache(name: str, index: Path, tmp_path: Path) -> None:
    files, says = BROKEN[name]
    requirements = lock(tmp_path, wheel(index, "bad", files), wheel(index, "good", {"good/__init__.py": ""}))
    for _ in range(2):  # the second time, too
        with pytest.raises(BundleError) as refusal:
            locked_packages.cached(requirements, tmp_path / "cache", None)
        assert says in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert not list(tmp_path.joinpath("cache").iterdir())


def test_a_locked_package_that_did_not_arrive_is_named(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("typing.extensions==4.0\nAbsent_Package==2.0 --hash=sha256:00\n")
    with pytest.raises(BundleError, match=r"pip did not fetch Absent_Package 2\.0"):
        locked_packages._modules(requirements, tmp_path)


def test_every_package_of_the_real_lock_is_asked_for(tmp_path: Path) -> None:
    for name in ("certifi-2026.10.18", "httpx-0.28.1"):
        tmp_path.joinpath(f"{name}.dist-info").mkdir()
    tmp_path.joinpath("httpx-0.28.1.dist-info", "RECORD").write_text("httpx/__init__.py,,\nhttpx/_api.py,,\n")
    tmp_path.joinpath("certifi-2026.10.18.dist-info", "RECORD").write_text("certifi/__init__.py,,\n")
    with pytest.raises(BundleError, match="pip did not fetch h11"):
        locked_packages._modules(build.SOURCE / "requirements.txt", tmp_path)


def test_compiled_modules_for_another_machine_are_not_imported() -> None:
    record = "fast/__init__.py,,\nfast/_c.cpython-313-aarch64-linux-gnu.so,,\nslow.py,,\nslow-1.dist-info/RECORD,,\n"
    assert locked_packages._top_level(record) == {"slow"}


# Each would put packages elsewhere, fetch others, or none.
HOSTILE_PIP = {
    "PIP_USER": "1",
    "PIP_TARGET": "/nowhere",
    "PIP_PREFIX": "/nowhere",
    "PIP_ROOT": "/nowhere",
    "PIP_DRY_RUN": "1",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_NO_BINARY": ":all:",
    "PIP_ONLY_BINARY": ":none:",
    "PIP_PYTHON": "/nowhere/python",
    "PIP_PYTHON_VERSION": "2.7",
    "PIP_PLATFORM": "win_amd64",
    "PIP_IMPLEMENTATION": "pp",
    "PIP_ABI": "cp27",
    "PIP_CONSTRAINT": "/nowhere/constraints.txt",
    "PIP_REQUIREMENT": "/nowhere/requirements.txt",
    "PIP_PRE": "1",
    "PIP_UPGRADE": "1",
    "PIP_LOG": "/nowhere/log",
    "PIP_REPORT": "/nowhere/report",
    "PIP_VERBOSE": "3",
}
HOSTILE_FILE = """\
[global]
user = true
require-virtualenv = true
target = /nowhere
[install]
no-binary = :all:
prefix = /nowhere
"""


def test_settings_that_change_what_is_fetched_or_where_do_not_count(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = wheel(index, "good", {"good/__init__.py": ""})
    for name, value in HOSTILE_PIP.items():
        monkeypatch.setenv(name, value)
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE"):
        monkeypatch.setenv(name, "/nowhere")
    tmp_path.joinpath("pip.conf").write_text(HOSTILE_FILE)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    entry = locked_packages.cached(lock(tmp_path, good), tmp_path / "cache", None)
    assert entry.joinpath("good", "__init__.py").exists()


def test_settings_that_say_where_packages_come_from_count(tmp_path: Path) -> None:
    tmp_path.joinpath("pip.conf").write_text(
        "[global]\nindex-url = https://mirror.example/simple\ntimeout = 7\n"
        "find-links =\n  https://a.example\n  https://b.example\n"
        "[install]\ntrusted-host = mirror.example\ntimeout = 8\nuser = true\n"
    )
    base = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    machine = {**base, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_PROXY": "http://proxy.example:3128"}
    machine |= {"HTTPS_PROXY": "http://other.example", "PYTHONHOME": "/nowhere"}
    environment = locked_packages.pip_environment(machine)
    assert environment["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert environment["PIP_TRUSTED_HOST"] == "mirror.example"
    assert environment["PIP_TIMEOUT"] == "8"
    assert environment["PIP_FIND_LINKS"].split() == ["https://a.example", "https://b.example"]
    assert environment["PIP_PROXY"] == "http://proxy.example:3128"
    assert environment["PIP_CONFIG_FILE"] == os.devnull
    assert environment["HTTPS_PROXY"] == "http://other.example"
    assert not {"PIP_USER", "PYTHONHOME"} & environment.keys()


def test_a_configuration_that_pip_cannot_read_is_one_line(tmp_path: Path) -> None:
    tmp_path.joinpath("pip.conf").write_text("user = true\n")
    with pytest.raises(BundleError) as refusal:
        locked_packages.pip_environment({**os.environ, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})
    assert str(refusal.value).startswith("pip cannot read its configuration: ")
    assert "\n" not in str(refusal.value)
