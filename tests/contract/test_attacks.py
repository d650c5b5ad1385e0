"""Sources that once stopped a node, split a chain or cost more time than they paid for.

Each of them was found by trying; what it did is said beside it. Rules by themselves are tested in
`test_front_*`, doors in `test_back_*`.
"""

import sys
import time
from types import SimpleNamespace

import pytest

from ledger.contract import cache, execution, layout, lowering, source, values
from ledger.contract.annotations import NODES_MAX
from ledger.contract.compile import compile_contract
from ledger.contract.digests import hash_struct
from ledger.contract.door import TEXT_BYTES_MAX
from ledger.contract.gas import GAS_COUNT_ITEM, price_power
from ledger.contract.program import MADE_BYTES, NODES_MADE, Program
from ledger.contract.rules import Breach
from ledger.contract.testing import Chain
from ledger.contract.types import IntType, StructType
from ledger.contract.values import Values
from ledger.crypto.keccak import keccak256
from ledger.errors import ContractRejected

IMPORTS = """
from ledger.contract import (
    Array, CallFailed, Contract, Event, Fixed, Interface, Map, Optional, Revert, Struct, abi_decode,
    abi_encode, address, hash_struct, uint8, uint256, view, write
)


class No(Revert):
    why: uint256


class Peer(Interface):
    @write
    def fail(self) -> None: ...


class Inner(Struct):
    first: uint8
    second: uint8


class Outer(Struct):
    items: list[Inner]
"""


def method(body, head="self, peer: address", gives="uint256", fields=""):
    lines = "".join(f"        {line}\n" for line in body.strip().split("\n"))
    return (
        f"{IMPORTS}\n\nclass Attack(Contract):\n    total: uint256\n{fields}\n"
        f"    @write\n    def run({head}) -> {gives}:\n{lines}"
    )


def caught(use):
    return method(
        "k: uint256 = 0\ntry:\n    Peer(peer).fail()\nexcept No as error:\n"
        f"    {use}\n    k = 1\nreturn k"
    )


REFUSED = {
    # An AssertionError when the codec was made: every node that ran the call stopped.
    "a tuple in a tuple": method("return 1, (2, 3)", gives="tuple[uint8, tuple[uint8, uint8]]"),
    "a tuple decoded": method(
        "a, b = abi_decode(d, tuple[uint8, uint8])\nreturn a", head="self, d: bytes"
    ),
    "absent in an array": method(
        "return len(self.some)", fields="    some: Array[Optional[uint8]]\n"
    ),
    "no tuple at all": method("return ()", gives="tuple[()]"),
    # A panic on a node that had just started, a success on one that had met it before.
    "an error encoded": caught("data = abi_encode(error)"),
    "errors in a list": caught("data = abi_encode([error])"),
    "an error kept": caught("kept = error"),
    "an error hashed": caught("digest = hash_struct(error)"),
}


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED)
def test_what_no_door_can_take_is_refused_when_it_is_deployed(source):
    with pytest.raises(ContractRejected):
        compile_contract(source.encode())


def test_the_fields_of_a_caught_error_are_values():
    model = compile_contract(caught("data = abi_encode(error.why)").encode()).model
    assert [method.name for method in model.methods] == ["run"]


def test_a_codec_that_cannot_be_made_fails_each_time():
    """It was half made, and the second call used the half that was there."""
    codec = Values((StructType("Unknown", (("value", IntType(8, False)),)),), {})
    for _ in range(2):
        with pytest.raises(KeyError):
            codec.encode([(1,)])


def test_structs_of_structs_are_bounded_by_all_that_they_spell_out():
    """Three of them, of 16 members each, took a second of every node for 6 M gas."""
    wide = "".join(f"    m{index}: uint8\n" for index in range(NODES_MAX // 4))
    twice, thrice = "    a: Wide\n    b: Wide\n", "    a: Wide\n    b: Wide\n    c: Twice\n"
    rest = "\n\nclass Attack(Contract):\n    total: uint256\n"
    run = f"{rest}\n    @view\n    def run"
    structs = f"{IMPORTS}\n\nclass Wide(Struct):\n{wide}\n\nclass Twice(Struct):\n{twice}"
    compile_contract((structs + rest).encode())
    for more in (
        f"\n\nclass Thrice(Struct):\n{thrice}{rest}",
        f"\n\nclass Seen(Event):\n{thrice}{rest}",
        f"{run}(self, a: Twice, b: Wide, c: Wide) -> None:\n        pass\n",
        f"{run}(self, a: Twice) -> Twice:\n        return a\n",
        f"{run}(self, a: Twice) -> bytes:\n        return abi_encode(a, a)\n",
    ):
        with pytest.raises(ContractRejected, match="with the members"):
            compile_contract((structs + more).encode())


@pytest.fixture
def lists():
    body = "items: list[Inner] = []\nouter = Outer(items)\n"
    body += "data = abi_encode(items)\ndigest = hash_struct(outer)\nreturn len(data)"
    return method(body, head="self")


def test_types_are_walked_through_when_a_codec_is_made_and_not_when_it_is_used(
    lists, tmp_path, monkeypatch
):
    """A list without items, of structs of structs, took 5 ms and 700 gas to encode."""
    (tmp_path / "attack.py").write_text(lists)
    chain = Chain()
    attack = chain.deploy(tmp_path / "attack.py")
    first = attack.run()
    monkeypatch.setattr(values, "_count_static", None)
    assert attack.run().gas_used == first.gas_used


def test_spelling_the_type_of_a_struct_is_paid_with_all_it_refers_to():
    inner = StructType("Inner", tuple((f"m{at}", IntType(8, False)) for at in range(30)))
    outer = StructType("Outer", (("inner", inner),))
    paid = []
    hash_struct(outer, ((0,) * 30,), paid.append)
    assert paid[0] >= GAS_COUNT_ITEM * 31


PARTS = """
from ledger.contract import Contract, Fixed, Map, Struct, uint8, uint256, view, write


class Both(Struct):
    rows: list[list[uint8]]
    pairs: list[Fixed[list[uint8], 2]]


class Attack(Contract):
    fixed: Fixed[list[list[uint8]], 2]
    grids: Map[uint8, Fixed[list[Fixed[list[uint8], 2]], 2]]
    both: Both

    @write
    def run(self) -> list[uint8]:
        self.fixed[1].append(3)
        self.fixed[1].append(4)
        self.fixed[1][0] = 5
        self.grids[7] = [[1, 2], [3, 4]]
        self.grids[7][1][0] = 6
        self.both.rows.append([1])
        self.both.rows[0].append(7)
        self.both.pairs.append([1, 2])
        self.both.pairs[0][1] = 8
        seen: list[uint8] = list(self.fixed[1]) + list(self.both.rows[0])
        seen.append(self.grids[7][1][0])
        seen.append(self.both.pairs[0][1])
        seen.append(self.both.rows.pop()[1])
        self.grids.remove(7)
        seen.append(self.grids[7][1][0])
        return seen
"""


def test_lists_in_lists_of_storage_are_changed_where_they_stand(tmp_path):
    """`append` and a store to an item reached a copy, were lost, and never paid."""
    (tmp_path / "attack.py").write_text(PARTS)
    attack = Chain().deploy(tmp_path / "attack.py")
    assert attack.run().returned == [5, 4, 1, 7, 6, 8, 7, 0]


def test_a_power_whose_operands_are_known_is_paid_by_its_size(tmp_path):
    """It cost what an addition does: 80 ns a gas."""
    source = method("base = 3\nresult = base ** 300\nreturn result % 7", head="self")
    small = source.replace("300", "30")
    used = []
    for name, text in (("large.py", source), ("small.py", small)):
        (tmp_path / name).write_text(text)
        used.append(Chain().deploy(tmp_path / name).run().gas_used)
    assert used[0] - used[1] >= price_power(448)


CALLER = """
from ledger.contract import CallFailed, Contract, Interface, address, uint64, uint256, view, write


class Peer(Interface):
    @view
    def one(self) -> uint256: ...


class Caller(Contract):
    total: uint256

    @write
    def run(self, peer: address, budget: uint64) -> None:
        for _ in range(3):
            try:
                self.total = Peer(peer, gas=budget).one()
            except CallFailed:
                self.total = 0
"""
CALLEE = """
from ledger.contract import Contract, uint256, view


class Callee(Contract):
    total: uint256

    @view
    def one(self) -> uint256:
        return 1
"""


def test_code_is_made_ready_once_a_transaction_and_never_before_it_is_paid(tmp_path, monkeypatch):
    """With a budget of one gas it was unpacked, 5 ms of it, and free from then on; and whoever
    called 65 contracts in turn had one unpacked by each call."""
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "callee.py").write_text(CALLEE)
    chain = Chain()
    caller = chain.deploy(tmp_path / "caller.py")
    callee = chain.deploy(tmp_path / "callee.py")
    asked = []
    monkeypatch.setattr(
        execution, "get_program", lambda *key: asked.append(key) or cache.get_program(*key)
    )
    caller.run(callee, 100_000)
    assert len(asked) == 2  # the caller's and, once for three calls, the callee's
    asked.clear()
    caller.run(callee, 1)
    assert len(asked) == 1


def test_what_is_unpacked_of_a_contract_is_what_a_call_uses():
    """Each event of 1,280 took its class, whatever was called of them."""
    fields = "".join(f"    a{number}: uint8\n" for number in range(256))
    events = "".join(f"class E{number}(Event):\n    a: uint8\n" for number in range(400))
    head = "from ledger.contract import Contract, Event, uint8\n"
    source = f"{head}{events}class A(Contract):\n{fields}".encode()
    packed = cache.pack(Program(compile_contract(source), len(source)))
    times = []
    for _ in range(3):
        began = time.process_time()
        program = cache.unpack(packed)
        times.append(time.process_time() - began)
    assert not program.events and not program.errors and not program.entries
    assert min(times) < 0.04  # 6 ms where nothing else runs


def test_fields_are_bounded():
    """2,000 of them in 20 kB took 56 ms at each call that had to make the program ready."""
    head = "from ledger.contract import Contract, uint8\nclass A(Contract):\n"
    fields = [f"    a{number}: uint8\n" for number in range(257)]
    compile_contract((head + "".join(fields[:-1])).encode())
    with pytest.raises(ContractRejected, match="at most 256 fields"):
        compile_contract((head + "".join(fields)).encode())


def test_the_number_of_an_interface_is_computed_once(monkeypatch):
    """700 mentions of one of 300 methods took 700 times 300 hashes."""
    count = []
    plain = lowering.compute_interface_id
    monkeypatch.setattr(
        lowering, "compute_interface_id", lambda methods: count.append(1) or plain(methods)
    )
    body = "        x = interface_id(Peer)\n" * 40
    compile_contract(
        f"from ledger.contract import Contract, Interface, bytes4, interface_id, view, write\n"
        f"class Peer(Interface):\n    @write\n    def fail(self) -> None: ...\n"
        f"class A(Contract):\n    @view\n    def run(self) -> bytes4:\n{body}"
        f"        return x\n".encode()
    )
    assert len(count) == 1


def test_keys_of_text_are_not_kept():
    """8,192 of them, of 64 KiB each, took 512 MiB of every node, for good."""
    key = bytes(TEXT_BYTES_MAX)
    kept = sys.getrefcount(key)
    assert layout.mapping_slot(bytes(32), key) == keccak256(key + bytes(32))
    assert sys.getrefcount(key) == kept


WIDE_EVENTS = """
from ledger.contract import Contract, Event, Struct, write


class Inner(Struct):
{members}

class Wide(Struct):
{inners}

class Happened(Event):
    what: list[Wide]


class A(Contract):
    @write
    def run(self) -> None:
        nothing: list[Wide] = []
        self.emit(Happened(nothing))
"""


def test_what_is_made_of_wide_types_weighs_as_much(tmp_path):
    """135 kB that were counted as 5: fifteen contracts took all memory of a worker, for good."""
    members = "".join(f"    m{number}: bool\n" for number in range(9))
    inners = "".join(f"    i{number}: Inner\n" for number in range(11))
    path = tmp_path / "wide.py"
    wide = WIDE_EVENTS.format(members=members, inners=inners)
    weights = []
    for text in (wide.replace("list[Wide]", "list[Inner]"), wide):
        path.write_text(text)
        Chain().deploy(path).run()
        weights.append(cache.find_program(path.read_bytes(), 1).weigh())
    assert weights[1] - weights[0] > 100 * MADE_BYTES // NODES_MADE


def test_no_memory_left_is_no_verdict_on_a_source(monkeypatch):
    """A nearly full worker refused a deployment that all others took."""

    def fail(*given, **named):
        raise MemoryError

    monkeypatch.setattr(source, "ast", SimpleNamespace(parse=fail))
    with pytest.raises(Breach):  # the parser's own depth, with memory left
        source.parse_text("x = 1")
    monkeypatch.setattr(source, "PARSER_BYTES", 1 << 62)
    with pytest.raises(MemoryError):
        source.parse_text("x = 1")
