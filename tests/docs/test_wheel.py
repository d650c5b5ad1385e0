"""The wheel has all that the program needs away from this checkout."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PACKAGES = ("ledger", "meter", "node", "contracts_py")
SETUPTOOLS_MIN = 77  # pyproject.toml's build requirement; an older one needs the network


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that nothing is left in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    own = int(version("setuptools").split(".")[0]) >= SETUPTOOLS_MIN
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", ".",
         *(["--no-build-isolation"] if own else []), "."],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "Could not find a version that satisfies" in done.stderr:
        pytest.skip("the package index cannot be reached: no setuptools to build a wheel with")
    assert done.returncode == 0, done.stderr
    (made,) = copy.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_four_packages_is_there(names: set[str]) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == wanted
    assert {"contracts_py/metering.py", "contracts_py/py.typed", "node/billing/bill.html"} <= packed


def test_it_is_one_wheel_for_every_machine(wheel: Path, names: set[str]) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Its own code, contracts and page; the dependencies are those of this environment."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    script = (
        "import sys, node, node.main\n"
        f"assert node.__file__.startswith({str(tmp_path)!r}), node.__file__\n"
        "from importlib import resources\n"
        "assert resources.files('node.billing').joinpath('bill.html').read_text()\n"
        "node.main.main(['contract', 'check', 'metering'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"PYTHONPATH": str(tmp_path / "installed")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "metering: Metering keeps the rules" in done.stdout
