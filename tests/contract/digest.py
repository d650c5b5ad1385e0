"""Prints one digest of verdicts, gas, values and states over a corpus: `python digest.py 300`.

Run by test_front_versions under each CPython at hand, with nothing installed but the standard
library, under hash seeds, -O, -bb and -W error: all must print the same.
"""

import hashlib
import random
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]
try:
    import sha3  # noqa: F401
except ImportError:  # a bare CPython: Keccak in plain Python
    sys.path.append(str(ROOT / "tests" / "determinism" / "shims"))

from ledger.contract.compile import compile_contract  # noqa: E402
from ledger.errors import ContractRejected  # noqa: E402
from tests.contract.programs import run, write_program  # noqa: E402

ODD = (
    rb'"\d"', b"1if a else 2", b"a is 5", b'f"{d["a"]}"', b"(" * 120 + b"a" + b")" * 120,
    b"- " * 990 + b"a", b"[x for x in xs]", b"1" * 4_400, b"b'' == ''", b"2 ** -1", b"a ** 3 % 5",
    b"(" * 46 + b"a" + b")" * 46, b"not " * 40 + b"(a < b)", b"- " * 40 + b"b",
    b"0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", b"(a < b) < 3",
)  # fmt: skip


def verdict(source: bytes) -> str:
    """Accepted or refused; the rule is not part of it (a rule may come earlier on one version)."""
    try:
        compile_contract(source)
    except ContractRejected:
        return "refused"
    return "accepted"


def programs(count: int) -> list[bytes]:
    return [write_program(random.Random(seed).randrange).encode() for seed in range(count)]


def main(count: int) -> None:
    digest = hashlib.sha256()
    generated = programs(count)
    for seed, source in enumerate(generated):
        pick = random.Random(-seed - 1)
        arguments = (
            pick.randrange(2**256),
            pick.randrange(-(2**63), 2**63),
            pick.randrange(256),
            [pick.randrange(2**64) for _ in range(pick.randrange(5))],
        )
        digest.update(repr(run(compile_contract(source), arguments, 100_000)).encode())
    for path in sorted((ROOT / "contracts_py").glob("*.py")):
        digest.update(f"{path.name} {verdict(path.read_bytes())}".encode())
    for seed in range(count):
        pick = random.Random(seed)
        source = bytearray(generated[seed])
        for _ in range(3):
            at = pick.randrange(len(source))
            source[at : at + pick.randrange(6)] = pick.choice((b"", b"(", b"\n    ", b"self", *ODD))
        digest.update(verdict(bytes(source)).encode())
    for odd in ODD:
        for source in (generated[0] + b"x = " + odd, b"        return " + odd):
            digest.update(verdict(source).encode())
    print(digest.hexdigest())


if __name__ == "__main__":
    main(int(sys.argv[1]))
