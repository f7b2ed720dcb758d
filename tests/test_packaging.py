"""The wheel holds all that a program needs, and the lock files agree with pyproject.toml."""

import csv
import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("api", "cli", "client/cuemill_client", "migrations", "models", "trainer", "worker")
LOCKS = ("serving", "trainer", "development")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources, so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)

    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


def build_wheel(source: Path, target: Path) -> Path:
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(target)], cwd=source, check=True, capture_output=True
    )
    (path,) = target.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and nothing of the checkout.

    The dependencies are those of the running environment, so that the test needs no network. An
    editable installation there has no effect, because Python does not read its .pth file.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    subprocess.run(
        [folder / "bin" / "pip", "install", "--quiet", "--no-index", "--no-deps", wheel],
        check=True,
    )

    (site_packages,) = folder.glob("lib/python*/site-packages")
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    return folder


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    expected = {
        str(path.relative_to((ROOT / package).parent))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == expected


def test_the_client_is_a_distribution_of_its_own(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "client", tmp_path / "client", ignore=ignored)
    wheel = build_wheel(tmp_path / "client", tmp_path)

    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        headers = email.message_from_bytes(archive.read(metadata))
    source = tmp_path / "client"
    files = (source / "cuemill_client").iterdir()
    assert packed == {str(path.relative_to(source)) for path in files}
    assert "cuemill_client/py.typed" in packed
    assert headers["Version"] == PROJECT["project"]["version"]
    assert headers["Requires-Python"] == ">=3.10"
    requirements = [Requirement(text) for text in headers.get_all("Requires-Dist", [])]
    own = [requirement for requirement in required() if requirement.name == "httpx2"]
    assert requirements == own


def test_cuemill_classifies_from_the_installed_wheel(environment: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(ROOT / "samples" / "sadness.png", images)
    variables = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("CUEMILL_")
    }
    variables["CUEMILL_DATA_DIR"] = str(tmp_path / "data")

    origin = subprocess.run(
        [environment / "bin" / "python", "-c", "import models.settings as s; print(s.__file__)"],
        cwd=tmp_path,
        env=variables,
        check=True,
        capture_output=True,
        text=True,
    )
    assert origin.stdout.startswith(str(environment))

    classified = subprocess.run(
        [environment / "bin" / "cuemill", "classify", images, "--format", "csv"],
        cwd=tmp_path,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
    )
    assert classified.returncode == 0, classified.stderr
    (row,) = csv.DictReader(classified.stdout.splitlines())
    assert (row["path"], row["outcome"]) == ("sadness.png", "classified")


def read_lock(name: str) -> dict[str, str]:
    """Package -> version. A line that is no pin, comment or hash fails."""
    versions: dict[str, str] = {}
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for line in text.replace("\\\n", " ").splitlines():
        if not line or line.lstrip().startswith("#"):
            continue
        pin = re.fullmatch(r"([\w.-]+)==(\S+)( ; [^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", line)
        assert pin is not None, line
        versions[canonicalize_name(pin[1])] = pin[2]
    return versions


def required(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for: the dependencies, and those of the extras or groups."""
    optional = PROJECT["project"]["optional-dependencies"] | PROJECT["dependency-groups"]
    texts = list(PROJECT["project"]["dependencies"])
    for extra in extras:
        texts += [text for text in optional[extra] if isinstance(text, str)]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("serving", ("build",)),
        ("trainer", ("build", "trainer")),
        ("development", ("build", "trainer", "heic", "parquet", "dev")),
    ],
)
def test_a_lock_satisfies_pyproject(lock: str, extras: tuple[str, ...]) -> None:
    versions = read_lock(lock)
    for requirement in required(*extras):
        version = versions.get(canonicalize_name(requirement.name), "none")
        assert requirement.specifier.contains(version), f"{requirement}: {version}; `make lock`"


def test_the_locks_agree_with_one_another() -> None:
    serving, trainer, development = map(read_lock, LOCKS)
    assert serving.items() <= trainer.items() <= development.items()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    assert "://" not in (ROOT / "requirements" / f"{lock}.txt").read_text()


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
