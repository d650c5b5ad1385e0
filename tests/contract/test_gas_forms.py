"""Every form of the language costs what the slow interpreter counts, through a real host's doors.

`test_gas_oracle` has the programs over a stub's storage, the fuzzer all that its grammar makes.
"""

import random
from typing import Any

import pytest

from ledger.contract.cache import load_program
from ledger.crypto.keccak import keccak256
from ledger.errors import ContractRejected
from tests.contract.charges import count_charges
from tests.fuzz import oracle
from tests.fuzz.grammar import write_contract
from tests.fuzz.oracle import Disagreement, check_agreement

FORMS = """\
from ledger.contract import (ZERO_ADDRESS, Array, CallFailed, Contract, Enum, Event, Fixed,
    Interface, Map,
    Optional, Ownable, Revert, Struct, ROUND_HALF_UP, abi_decode, abi_encode, address, bytes32,
    bytes4, interface_id, keccak256, mul_div, override, string, uint8, uint64, uint256, view, write)

LIMIT = 3

class Mode(Enum):
    OFF = 0
    ON = 1

class Pair(Struct):
    first: uint64
    mode: Mode

class Box(Struct):
    pair: Pair
    items: list[uint64]
    three: Fixed[list[uint64], 3]

class Seen(Event):
    what: uint256
    text: string

class Refused(Revert):
    why: uint256

class Other(Interface):
    @view
    def half(self, n: uint64) -> uint64: ...
    @write
    def again(self, n: uint64) -> uint64: ...

class Low(Contract):
    level: uint256
    def _rise(self, by: uint256, more: uint256 = 2) -> uint256:
        self.level += by + more
        return self.level

class Forms(Low, Ownable):
    box: Box
    boxes: Map[uint64, Box]
    wide: Map[uint64, Fixed[list[uint64], 3]]
    queue: Array[uint64]
    rows: Array[Array[uint64]]
    maybe: Map[uint64, Optional[Pair]]

    def __init__(self, owner: address) -> None:
        Ownable.__init__(self, owner if owner == ZERO_ADDRESS else self.msg.sender)

    @override
    def _rise(self, by: uint256, more: uint256 = 2) -> uint256:
        return super()._rise(by % 9, more) + Low._rise(self, 1, LIMIT)

    @view
    def half(self, n: uint64) -> uint64:
        if n % 2 == 1:
            raise Refused(n)
        return n // 2

    @write(reentrant=True)
    def again(self, n: uint64) -> uint64:
        self.box.pair.first = n % 5
        return self.box.pair.first

    @write
    def rise(self, n: uint64) -> uint256:
        return self._rise(n) + self._rise(2, 1)

    @view
    def gather(self, data: list[uint64], n: uint8) -> uint256:
        some = [x % 7 for x in data if x > 2]
        more = [i * x for i, x in enumerate(some)] + [x + y for x, y in zip(some, data)]
        more = more + [x for x in range(n % 5) if x > 1 if x != 3]
        more.append(sum(x // 3 if x > 1 else x + 1 for x in data))
        if any(x == 3 for x in some) or all(x < 9 for x in more):
            more = sorted(more)
        tail: list[uint256] = [7] * (n % 4)
        for each in more[1:] + list(tail):
            if each in some and each not in tail:
                return each
        return max(more) + min(x for x in more) + len(tail)

    @view
    def text(self, data: bytes, words: string) -> bytes:
        whole = data + words.encode()
        if whole.startswith(b"a") or data == b"":
            return bytes(keccak256(whole))
        first = whole[0] + whole[0:1][0]
        if whole.hex() != "00" and len(data) == 3:
            return whole[1:]
        return abi_encode(uint64(first), bytes(bytes32(uint256(keccak256(data)) // 2)))

    @view
    def codes(self, n: uint256, who: address) -> uint256:
        a, b = divmod(n, 7)
        one, two = abi_decode(abi_encode(a, who), uint256, address)
        mode = Mode(n % 2)
        known = interface_id(Other) != bytes4(b"abcd")
        if mode == Mode.ON and two == address(bytes(who)) and known:
            return mul_div(one, 3, b + 1, ROUND_HALF_UP) + uint8(mode) + uint8(Mode.ON)
        return (b ** 9 << b) % 1000 + self.block.chain_id

    @write
    def place(self, n: uint64, items: list[uint64]) -> uint256:
        key = n % 3
        self.box = Box(Pair(n, Mode.ON), items, three=[1, 2, key])
        self.boxes[key] = self.box
        self.boxes[key].pair.mode = Mode.OFF
        self.boxes[key].items.append(4)
        self.boxes[key].items[0] += key
        self.boxes[key].three[key] -= 1
        self.wide[key] = [n, 2, 3]
        self.wide[key][2] += key
        self.box.items = [x + 1 for x in items if x < LIMIT]
        self.rows.append()
        self.rows[0].append(key)
        self.queue.append(n)
        self.maybe[key] = self.box.pair
        total = sum(list(self.queue)) + len(self.rows) + self.rows[0][0]
        if key in self.maybe and self.maybe[key].first == n:
            total += self.boxes[key].three[0] + self.wide[key][0] + len(self.box.items)
            self.maybe.remove(key)
        self.emit(Seen(total, "placed"))
        return total + self.boxes[key].items[0] + sum(list(self.boxes[key].three))

    @write
    def out(self, n: uint64, who: address) -> uint64:
        mine = self.address
        first = Other(mine, gas=200000).half(n // 2 * 2)
        try:
            self.box.pair.first = Other(who).half(n)
        except Refused as refused:
            return uint64(refused.why % 9)
        except CallFailed:
            first = 0
        try:
            return Other(who).again(first)
        except CallFailed as failed:
            self.level = 5 if failed.callee == mine else 6
        return 1
"""
SEEDS, MANY, CALLS, GAS = range(6), range(30), 25, 2_000_000


def play_forms(seeds: range = SEEDS) -> int:
    return sum(check_agreement(seed, FORMS.encode(), CALLS, GAS) for seed in seeds)


def test_every_form_costs_what_the_interpreter_says() -> None:
    assert play_forms() > 0.6 * len(SEEDS) * CALLS, "most calls succeed, at a gas that is equal"


def test_contracts_of_the_grammar_cost_what_the_interpreter_says() -> None:
    equal = 0
    for seed in range(40):
        source = write_contract(random.Random(seed).randrange).encode()
        try:
            equal += check_agreement(seed, source)
        except ContractRejected:
            continue
    assert equal > 60, "too little succeeds to be compared"


@pytest.mark.deep
@pytest.mark.timeout(600)
def test_every_charge_of_every_form_is_missed_when_it_is_left_out() -> None:
    source = FORMS.encode()
    key = keccak256(source)
    total = count_charges(lambda: load_program(source, key, 1), 0)
    assert total > 40
    missed = []
    for skipped in range(1, total + 1):
        count_charges(lambda: load_program(source, key, 1), skipped)
        try:
            play_forms(MANY)
        except Disagreement:
            continue
        missed.append(skipped)
    load_program(source, key, 1)
    assert not missed, f"nobody misses charges {missed} of {total}"


def test_gas_that_is_not_charged_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = oracle.SlowContract.bind

    def dearer(self: Any, host: Any, env: Any, gas: int, out: Any) -> Any:
        bound = honest(self, host, env, gas, out)
        bound.gas.cell_contents -= 1
        return bound

    monkeypatch.setattr(oracle.SlowContract, "bind", dearer)
    with pytest.raises(Disagreement, match="gas is not charged"):
        play_forms()
