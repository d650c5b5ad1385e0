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
from tests.contract.programs import PRELUDE, run, write_program  # noqa: E402

ODD = (
    rb'"\d"', b"1if a else 2", b"a is 5", b'f"{d["a"]}"', b"(" * 120 + b"a" + b")" * 120,
    b"- " * 990 + b"a", b"[x for x in xs]", b"1" * 4_400, b"b'' == ''", b"2 ** -1", b"a ** 3 % 5",
    b"(" * 46 + b"a" + b")" * 46, b"not " * 40 + b"(a < b)", b"- " * 40 + b"b",
    b"0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", b"(a < b) < 3",
)  # fmt: skip


GATHERED = (
    "return sum(x * i if x > 2 and a > 1 else x // 3 for i, x in enumerate(data) if x < 9**9)",
    "return sum(sum(y % (x + 1) for y in data) for x in data) + sum(i for i in range(n) if i > 2)",
    "return max([data[i] + data[-i - 1 + len(data)] for i in range(len(data))] + [a % 7])",
    "return sorted([x % 5 for x in data if x > 1 if x != 3])[0]",
)
"""Comprehensions, whose frames and variables are other ones since CPython 3.12."""


def gathered(body: str) -> bytes:
    signature = "a: uint256, b: int64, n: uint8, data: list[uint64]"
    return (
        f"{PRELUDE}    @write\n    def run(self, {signature}) -> int256:\n        {body}\n".encode()
    )


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
    for body in GATHERED:
        for data in ([], [4, 1, 3], list(range(40))):
            given = 2**255, -1, len(data), data
            digest.update(repr(run(compile_contract(gathered(body)), given, 100_000)).encode())
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
