"""Results, gas, events and storage are the same on every CPython and on 32-bit WebAssembly.

The npm package pyodide (`make .tools/pyodide/.installed`) is CPython for WebAssembly under Node.js.
The reference is the interpreter that runs the tests, with its real libraries.
"""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.crypto import secp256k1
from ledger.crypto.keccak import keccak256
from tests.determinism.shims import coincurve as pure_curve
from tests.determinism.shims import sha3 as pure_keccak

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYODIDE = ROOT / ".tools" / "pyodide" / "node_modules"
INSTALLED = Path.home() / ".pyenv" / "versions"
WASM = {"pyodide-027": "3.12", "pyodide-028": "3.13", "pyodide-314": "3.14"}
SHORT, DEEP = 6, 150


def run(*command: str) -> dict[str, str]:
    """name -> digest, as corpus.py prints them."""
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


def find_differing(command: list[str], count: int, version: str, bits: str) -> set[str]:
    """Which of the corpus another interpreter, of that version and word, does otherwise."""
    reference = run(sys.executable, str(HERE / "corpus.py"), str(count))
    found = run(*command, str(count))
    number, found_bits = found.pop("version").split()
    assert number.startswith(f"{version}.") and found_bits == bits
    del reference["version"]
    assert len(found) == len(reference) > count
    return {name for name in reference if reference[name] != found.get(name)}


def find_differing_in_wasm(package: str, count: int) -> set[str]:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not here")
    if not (PYODIDE / package).is_dir():
        pytest.skip(f"{package} is not in .tools/pyodide: make .tools/pyodide/.installed")
    script = "tests/determinism/corpus.py"
    command = ["node", str(HERE / "run_wasm.mjs"), str(PYODIDE / package), str(ROOT), script]
    return find_differing(command, count, WASM[package], "32")


def test_webassembly_of_one_version_gives_the_same() -> None:
    assert find_differing_in_wasm("pyodide-314", SHORT) == set()


@pytest.mark.deep
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("package", WASM)
def test_webassembly_of_every_version_gives_the_same(package: str) -> None:
    assert find_differing_in_wasm(package, DEEP) == set()


@pytest.mark.deep
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_cpython_of_this_machine_gives_the_same(version: str) -> None:
    found = sorted(INSTALLED.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"CPython {version} is not under {INSTALLED}")
    command = [str(found[-1]), "-I", "-B", str(HERE / "corpus.py")]
    assert find_differing(command, DEEP, version, "64") == set()


def test_plain_keccak_is_the_real_one() -> None:
    for size in (0, 1, 31, 135, 136, 137, 272, 1_000):
        data = random.Random(size).randbytes(size)
        assert pure_keccak.keccak_256(data).digest() == keccak256(data)


def test_plain_secp256k1_is_the_real_one() -> None:
    pick = random.Random(7)
    for _ in range(6):
        key, digest = pick.randbytes(32), pick.randbytes(32)
        mine = pure_curve.PrivateKey(key).sign_recoverable(digest)
        for signature in (mine, secp256k1.sign_compact(key, digest), pick.randbytes(64) + b"\1"):
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
            try:
                expected = pure_curve.PublicKey.from_signature_and_message(signature, digest)
            except ValueError:
                with pytest.raises(secp256k1.InvalidSignature):
                    secp256k1.recover(digest, signature[64], r, s)
                continue
            s = min(s, secp256k1.CURVE_ORDER - s)
            flipped = signature[64] ^ (s != int.from_bytes(signature[32:64], "big"))
            found = secp256k1.recover(digest, flipped, r, s)
            assert b"\x04" + found == expected.format(compressed=False)
