"""`python -m benchmarks [NAME ...]`: run all, or those named, and write what was found.

Results go to benchmarks/results/NAME.json with the machine; the table in README.md, between its
markers, is made of them, so that every number there comes from here.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.table import make_table

NAMES = (
    "gas", "contracts", "isolation", "stages", "throughput", "latency", "footprint", "startup",
    "engine", "sync", "traffic", "blocktime", "sustained",
)  # fmt: skip
RESULTS = Path(__file__).with_name("results")
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(exist_ok=True)
    for name in names or NAMES:
        began = time.monotonic()
        print(f"{name} ...", flush=True)
        result = importlib.import_module(f"benchmarks.{name}").run()
        document = {"machine": describe_machine(), "result": result}
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
        print(
            f"{name}: {time.monotonic() - began:.0f} s\n{json.dumps(result, indent=2)}", flush=True
        )
    write_table(load_results())
    return 0


def load_results() -> dict[str, Any]:
    """Name -> {machine, result}, of what has been measured so far."""
    return {
        path.stem: json.loads(path.read_text())
        for path in sorted(RESULTS.glob("*.json"))
        if path.stem in NAMES
    }


def write_table(results: dict[str, Any]) -> None:
    """Put the table between the markers of the README."""
    text = README.read_text()
    if BEGIN not in text or END not in text:
        print(f"README.md has no {BEGIN} and {END}: the table is not written", file=sys.stderr)
        return
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    README.write_text(f"{head}{BEGIN}\n{make_table(results)}\n{END}{tail}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
