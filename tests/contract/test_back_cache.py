"""What is kept of compiled contracts: bounded, and never the difference in what a call does."""

import tracemalloc
from collections import OrderedDict
from importlib import resources
from typing import Any

import pytest

from ledger.contract import cache
from ledger.contract.program import Program
from ledger.contract.testing import Chain

STANDARD = resources.files("contracts_py")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Empty caches; the sources that are compiled from here on."""
    seen: list[bytes] = []
    plain = cache.compile_contract

    def compile_and_count(source: bytes, *rest: Any) -> Any:
        seen.append(source)
        return plain(source, *rest)

    monkeypatch.setattr(cache, "compile_contract", compile_and_count)
    for kept in ("_programs", "_packed"):
        monkeypatch.setattr(cache, kept, OrderedDict())
    return seen


def play(forget: Any) -> list[Any]:
    """A story on el_dapp's Provider, `forget` between its steps: what it cost and did."""
    chain = Chain()
    chain.account("owner", 10**6)
    provider = chain.deploy(STANDARD / "el_dapp.py", "Grid", "Street", sender="owner")
    done: list[Any] = []
    user = chain.account("user")
    for step in (
        lambda: provider.add_user(user, sender="owner"),
        lambda: provider.set_usage(4_200, sender="user"),
        lambda: provider.set_debt(5, 7, user, sender="owner"),
    ):
        forget()
        receipt = step()
        done.append((receipt.gas_used, [repr(each) for each in receipt.events]))
    return done


def test_a_packed_contract_does_what_the_compiled_one_did(compiled: list[bytes]) -> None:
    expected = play(lambda: None)
    times = len(compiled)
    assert play(cache._programs.clear) == expected
    assert len(compiled) == times + 1, "the kit compiles for itself; no call compiles anew"


def test_what_is_forgotten_altogether_is_compiled_anew(compiled: list[bytes]) -> None:
    expected = play(lambda: None)

    def forget() -> None:
        cache._programs.clear()
        cache._packed.clear()

    times = len(compiled)
    assert play(forget) == expected
    assert len(compiled) == times + 1 + 3


def test_both_caches_are_bounded(compiled: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    source = b"from ledger.contract import Contract\n\n\nclass A(Contract):\n    pass\n"
    size = len(cache.pack(Program(cache.compile_contract(source), len(source))))
    weight = cache.load_program(source, None, 1).weigh()
    monkeypatch.setattr(cache, "READY_BYTES_MAX", 3 * weight + 1)
    monkeypatch.setattr(cache, "PACKED_BYTES_MAX", 5 * size + size // 2)
    for number in range(8):
        cache.load_program(source, bytes([number]) * 32, 1)
    assert list(cache._programs) == [(bytes([number]) * 32, 1) for number in (5, 6, 7)]
    assert [key[0][0] for key in cache._packed] == [3, 4, 5, 6, 7]
    assert cache.get_program(bytes([2]) * 32, 1) is None
    assert cache.get_program(bytes([3]) * 32, 1) is not None
    assert [key[0][0] for key in cache._programs] == [6, 7, 3]


def test_what_calls_make_of_a_program_is_weighed(
    compiled: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call of 50,000 gas makes a thousand classes of structs, 5 MB: 95 programs 430 MB."""
    structs = "".join(f"class S{number}(Struct):\n    a: bool\n" for number in range(100))
    body = "".join(f"        S{number}(True)\n" for number in range(100))
    head = "from ledger.contract import Contract, Struct, write\n"
    tail = "class A(Contract):\n    @write\n    def use(self) -> None:\n"
    source = f"{head}{structs}{tail}{body}".encode()
    programs = [cache.load_program(source, bytes([number]) * 32, 1) for number in range(3)]
    weight = programs[0].weigh()
    tracemalloc.start()
    for number in range(100):
        programs[2].env[f"S{number}"](True)
    made = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert made < programs[2].weigh() - weight < 4 * made
    monkeypatch.setattr(cache, "READY_BYTES_MAX", programs[2].weigh() + weight // 2)
    assert cache.get_program(bytes([2]) * 32, 1) is programs[2]
    assert [key[0][0] for key in cache._programs] == [2]


def test_fields_that_no_call_uses_take_little() -> None:
    """Of 256 they took 340 kB for 3 kB of source: what one call may enter, 200 MB."""
    fields = "".join(f"    a{number}: bool\n" for number in range(256))
    head = "from ledger.contract import Contract\nclass A(Contract):\n"
    source = f"{head}{fields}".encode()
    packed = cache.pack(Program(cache.compile_contract(source), len(source)))
    tracemalloc.start()
    program = cache.unpack(packed)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 80_000
    assert taken < program.weigh()
