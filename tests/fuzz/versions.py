"""What the cases of some seeds do on other CPythons: `python versions.py SEED...` prints them.

Run with nothing installed under each CPython of this machine and each for WebAssembly under
Node.js; a line `seed digest` for each case, to be compared with those of the fuzzer's own.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPT = "tests/fuzz/versions.py"
WASM = ROOT / "tests" / "determinism" / "run_wasm.mjs"
PYODIDE = ROOT / ".tools" / "pyodide" / "node_modules"
INSTALLED = Path.home() / ".pyenv" / "versions"
NEWER = ("3.12", "3.13", "3.14")


def list_versions() -> dict[str, list[str]]:
    """The command of each version at hand, by a name that says which it is."""
    found: dict[str, list[str]] = {}
    if shutil.which("node") is not None:
        for folder in sorted(PYODIDE.glob("pyodide-*")):
            found[f"WebAssembly {folder.name}"] = [
                "node",
                str(WASM),
                str(folder),
                str(ROOT),
                SCRIPT,
            ]
    for version in NEWER:
        for python in sorted(INSTALLED.glob(f"{version}.*/bin/python"))[-1:]:
            name = f"CPython {python.parents[1].name}"
            found[name] = [str(python), "-I", "-B", str(ROOT / SCRIPT)]
    return found


def start(command: Sequence[str], seeds: Sequence[int]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, *map(str, seeds)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip


def compare(output: str, known: dict[int, str]) -> tuple[int, list[tuple[int, str]]]:
    """How many seeds gave a digest, and those where it is another."""
    found = dict(line.split(maxsplit=1) for line in output.splitlines())
    differing = [
        (int(seed), f"{digest} where {known[int(seed)]} is known")
        for seed, digest in found.items()
        if known[int(seed)] != digest
    ]
    return len(found), differing


def main(seeds: list[int]) -> None:
    sys.path[:0] = [str(ROOT / "tests" / "determinism" / "shims"), str(ROOT)]
    from tests.fuzz.cases import digest_case

    for seed in seeds:
        print(seed, digest_case(seed), flush=True)


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]])
