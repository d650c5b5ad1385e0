"""Prints a line `name digest` for each part of the corpus: `python corpus.py 20`.

Run under each CPython at hand and each of those for WebAssembly (`run_wasm.mjs`), with nothing
installed: all must print the same. What C libraries do elsewhere, `shims` does in plain Python.
"""

import random
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE / "shims"), str(ROOT)]

from ledger.crypto.secp256k1 import recover, sign_compact  # noqa: E402
from tests.contract.digest import main as print_front_digest  # noqa: E402
from tests.contract.programs import write_program  # noqa: E402
from tests.contract.sources import FOLDERS, LIBRARY, list_contracts  # noqa: E402
from tests.determinism.play import digest_story  # noqa: E402
from tests.fuzz.cases import digest_case  # noqa: E402

CALLS = 40


def main(count: int) -> None:
    print("version", sys.version.split()[0], sys.maxsize.bit_length() + 1)
    signature = sign_compact(b"\1" * 32, b"\2" * 32)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    print("recover", recover(b"\2" * 32, signature[64], r, s).hex()[:16])
    print("front", end=" ")
    print_front_digest(count)
    calls = min(CALLS, 2 * count)
    for path in list_contracts(*FOLDERS, LIBRARY):
        source = path.read_bytes()
        for seed in range(1 + count // 20):
            story = digest_story(source, random.Random(seed).randrange, calls)
            print(f"{path.stem}/{seed}", story)
    for seed in range(count):
        pick = random.Random(1_000_000 + seed).randrange
        print(f"program/{seed}", digest_story(write_program(pick).encode(), pick, 5))
    for seed in range(2 * count):
        print(f"fuzz/{seed}", digest_case(seed))


if __name__ == "__main__":
    main(int(sys.argv[1]))
