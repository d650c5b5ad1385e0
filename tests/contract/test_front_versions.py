"""One digest of verdicts, values and gas on every CPython, hash seed and flag."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("digest.py")
INSTALLED = Path.home() / ".pyenv" / "versions"
PROGRAMS = 60


def run_digest(python: str, *flags: str, **environment: str) -> str:
    done = subprocess.run(
        [python, *flags, "-B", str(SCRIPT), str(PROGRAMS)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def digest() -> str:
    return run_digest(sys.executable)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_cpython_gives_the_same_digest(version: str, digest: str) -> None:
    found = sorted(INSTALLED.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"CPython {version} is not under {INSTALLED}")
    assert run_digest(str(found[-1]), "-I") == digest


def test_flags_and_hash_seeds_change_nothing(digest: str) -> None:
    flags = ("-OO", "-bb", "-W", "error")
    assert run_digest(sys.executable, *flags, PYTHONHASHSEED="77") == digest
    assert run_digest(sys.executable, PYTHONINTMAXSTRDIGITS="0", PYTHONHASHSEED="5") == digest
