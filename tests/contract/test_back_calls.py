"""Calls between contracts: the guard, depth, gas, static calls, what failure undoes, logs."""

from pathlib import Path
from typing import Any

import pytest

from ledger.contract import CallFailed, cache, values
from ledger.contract.door import ALLOCATED_BYTES_MAX
from ledger.contract.gas import GAS_CODE_BYTE, GAS_CODE_RECORD, GAS_CODEC_NODE
from ledger.contract.remote import CALL_DEPTH_MAX, GAS_KEPT_PART
from ledger.contract.testing import Chain

IMPORTS = """
from ledger.contract import (
    Array, CallFailed, Contract, Event, Interface, Map, Revert, address, payable, string, uint64,
    uint256, view, write
)


class Peer(Interface):
    @write
    def poke(self, back: address, rounds: uint256) -> uint256: ...

    @write
    def poke_back(self, back: address, rounds: uint256) -> uint256: ...

    @write
    def fail(self, how: uint256) -> uint256: ...

    @view
    def peek(self) -> uint256: ...

    @view
    def sly(self) -> uint256: ...

    @view
    def answers(self) -> uint256: ...

    @payable
    def pay(self) -> None: ...


class Seen(Event):
    step: uint256


class No(Revert):
    step: uint256


"""
NODE = (
    IMPORTS
    + '''
class Node(Contract):
    _count: uint256
    _log: Array[uint256]
    _text: string

    @write
    def poke(self, back: address, rounds: uint256) -> uint256:
        """To the other and back again, as long as the guard lets us."""
        self._count += 1
        self.emit(Seen(rounds))
        if rounds > 0:
            return 1 + Peer(back).poke(self.address, rounds - 1)
        return 1

    @write(reentrant=True)
    def poke_back(self, back: address, rounds: uint256) -> uint256:
        self._count += 1
        before = self._count
        if rounds > 0:
            Peer(back).poke_back(self.address, rounds - 1)
        return self._count * 1_000 + before

    @write
    def ask_poke(self, other: address, rounds: uint256) -> uint256:
        return Peer(other).poke_back(self.address, rounds)

    @view
    def peek(self) -> uint256:
        return self._count

    @view
    def peek_at(self, other: address) -> uint256:
        return Peer(other).peek()

    @write
    def fail(self, how: uint256) -> uint256:
        self._count += 1
        self.emit(Seen(900 + how))
        if how == 1:
            raise No(how)
        if how == 2:
            return 1 // (self._count - self._count)
        while how == 3:
            self._count += 1
        if how == 4:
            text = "0123456789abcdef"
            for i in range(12):
                text = text + text
            for i in range(64):
                text = text + ""
        return self._count

    @write
    def catch(self, other: address, how: uint256, gas: uint64) -> uint256:
        self._count += 10
        self.emit(Seen(1))
        result: uint256 = 0
        try:
            result = Peer(other, gas=gas).fail(how)
        except No as no:
            result = 100 + no.step
        except CallFailed:
            result = 200
        self.emit(Seen(2))
        return result

    @write
    def pass_on(self, other: address, how: uint256) -> uint256:
        self._count += 10
        return Peer(other).fail(how)

    @write
    def ask(self, other: address) -> uint256:
        return Peer(other).sly()

    @write
    def ask_caught(self, other: address) -> uint256:
        try:
            return Peer(other).answers()
        except CallFailed:
            return 77

    @write
    def give(self, to: address, amount: uint256) -> None:
        Peer(to, value=amount).pay()

    @payable
    def pay(self) -> None:
        self.emit(Seen(self.msg.value))

    @payable
    def receive(self) -> None:
        self.emit(Seen(5_000 + self.msg.value))
'''
)
SLY = (
    IMPORTS
    + '''
class Sly(Contract):
    """Its interface says view; it writes, or answers with another type."""

    _count: uint256

    @write
    def sly(self) -> uint256:
        self._count += 1
        return self._count

    @view
    def peek(self) -> uint256:
        return self._count

    @write
    def poke(self, back: address, rounds: uint256) -> uint256:
        """Take coin while the payer still waits: the guard refuses."""
        return Peer(back).poke(self.address, 0)

    @view
    def answers(self) -> string:
        return "no number"

    @write
    def fail(self, how: uint256) -> string:
        self._count += 1
        return "no number"
'''
)


@pytest.fixture
def made(tmp_path: Path) -> Any:
    (tmp_path / "node_contract.py").write_text(NODE)
    (tmp_path / "sly_contract.py").write_text(SLY)
    chain = Chain()
    chain.account("owner", 10**6)
    first, second = [chain.deploy(tmp_path / "node_contract.py", sender="owner") for _ in range(2)]
    sly = chain.deploy(tmp_path / "sly_contract.py", sender="owner")
    return chain, first, second, sly


def test_a_contract_that_waits_is_not_entered_again(made: Any) -> None:
    _, first, second, _ = made
    assert first.poke(second.address, 1, sender="owner").returned == 2
    with pytest.raises(CallFailed):
        first.poke(second.address, 2, sender="owner")
    assert (first.peek(), second.peek()) == (1, 1), "nothing of the second call stayed"
    with pytest.raises(CallFailed):
        first.poke(first.address, 1, sender="owner")


def test_a_method_that_says_so_is_entered_again_and_its_caller_reads_what_is_written(
    made: Any,
) -> None:
    _, first, second, _ = made
    # first 1, second 1, first 2, second 2; each reads its count after the others have written.
    assert first.poke_back(second.address, 3, sender="owner").returned == 2_001
    assert (first.peek(), second.peek()) == (2, 2)
    # From a method that is not reentrant into one that is: that is the callee's word.
    assert first.ask_poke(second.address, 1, sender="owner").returned == 3_003


def test_a_view_of_a_waiting_contract_may_be_asked(made: Any) -> None:
    _, first, second, _ = made
    first.poke(second.address, 0, sender="owner")
    assert first.peek_at(first.address) == 1


def test_depth_is_bounded(made: Any) -> None:
    _, first, second, _ = made
    assert first.poke_back(second.address, CALL_DEPTH_MAX - 1, sender="owner")
    with pytest.raises(CallFailed):
        first.poke_back(second.address, CALL_DEPTH_MAX, sender="owner")


def test_a_callee_s_failure_undoes_the_callee_alone_and_its_logs(made: Any) -> None:
    _, first, second, _ = made
    for how, told in ((0, 1), (1, 101), (2, 200), (3, 200)):
        before = first.peek(), second.peek()
        receipt = first.catch(second.address, how, 100_000, sender="owner")
        assert receipt.returned == told
        assert first.peek() == before[0] + 10
        assert second.peek() == before[1] + (how == 0)
        steps = [event.step for event in receipt.events]
        assert steps == ([1, 900, 2] if how == 0 else [1, 2])


def test_what_nobody_names_ends_the_caller_with_the_same_data(made: Any) -> None:
    _, first, second, _ = made
    with pytest.raises(Exception, match="1") as passed:
        first.pass_on(second.address, 1, sender="owner")
    assert passed.value.step == 1
    with pytest.raises(Exception, match="0x12"):
        first.pass_on(second.address, 2, sender="owner")
    assert (first.peek(), second.peek()) == (0, 0)


def test_out_of_gas_without_a_budget_ends_everything(made: Any) -> None:
    _, first, second, _ = made
    with pytest.raises(Exception) as ended:
        first.pass_on(second.address, 3, sender="owner", gas=400_000)
    assert type(ended.value).__name__ == "ContractOutOfGas"
    with pytest.raises(Exception) as ended:  # the budget was never there
        first.catch(second.address, 3, 10**15, sender="owner", gas=400_000)
    assert type(ended.value).__name__ == "ContractOutOfGas"


def test_out_of_memory_ends_everything_and_is_counted_over_all_calls(made: Any) -> None:
    assert ALLOCATED_BYTES_MAX == 8 << 20
    _, first, second, _ = made
    with pytest.raises(Exception, match="0x41"):
        first.catch(second.address, 4, 10**7, sender="owner")
    assert (first.peek(), second.peek()) == (0, 0)


def test_a_static_call_cannot_write(made: Any) -> None:
    _, first, _, sly = made
    with pytest.raises(Exception, match="0x57"):
        first.ask(sly.address, sender="owner")
    assert sly.peek() == 0


def test_an_answer_of_another_type_is_a_failure_that_undoes_the_callee(made: Any) -> None:
    _, first, _, sly = made
    assert first.ask_caught(sly.address, sender="owner").returned == 77
    assert first.catch(sly.address, 0, 100_000, sender="owner").returned == 200
    assert sly.peek() == 0


def test_coin_goes_with_the_call_and_comes_back_when_it_fails(made: Any) -> None:
    chain, first, second, sly = made
    chain.transfer(first.address, 100, sender="owner")
    receipt = first.give(second.address, 30, sender="owner")
    assert [event.step for event in receipt.events] == [30]
    assert (chain.balance(first.address), chain.balance(second.address)) == (70, 30)
    for to, amount in ((sly.address, 1), (second.address, 71), (b"\1" * 20, 1)):
        with pytest.raises(CallFailed):
            first.give(to, amount, sender="owner")
    assert (chain.balance(first.address), chain.balance(second.address)) == (70, 30)


def test_a_caller_keeps_a_64th_of_its_gas(made: Any) -> None:
    """A callee that burns all it was given leaves its caller enough to say so."""
    assert GAS_KEPT_PART == 64
    _, first, second, _ = made
    receipt = first.catch(second.address, 3, 1_000_000, sender="owner", gas=2_000_000)
    assert receipt.returned == 200
    assert 1_000_000 < receipt.gas_used < 1_000_000 + 60_000


def test_gas_used_is_the_least_limit_that_suffices(made: Any) -> None:
    """With any less there is no gas, wherever in the calls it ends, and nothing changes."""
    chain, first, second, _ = made
    first.catch(second.address, 1, 100_000, sender="owner")
    used = first.poke(second.address, 1, sender="owner").gas_used
    counts = first.peek(), second.peek()
    snapshot = chain.state.snapshot()
    first.poke(second.address, 1, sender="owner", gas=2 * used)
    chain.state.revert(snapshot)
    for gas in [*range(1, used, used // 37), used - 1]:
        with pytest.raises(Exception) as ended:
            first.poke(second.address, 1, sender="owner", gas=gas)
        assert type(ended.value).__name__ in ("ContractOutOfGas",), gas
        assert (first.peek(), second.peek()) == counts


def test_another_contract_s_code_is_paid_by_its_size_once_a_transaction(
    made: Any, tmp_path: Path
) -> None:
    chain, first, second, _ = made
    (tmp_path / "longer.py").write_text(NODE + "#" + "x" * 9_999 + "\n")
    longer = chain.deploy(tmp_path / "longer.py", sender="owner")
    short = first.catch(second.address, 0, 10**6, sender="owner").gas_used
    more = first.catch(longer.address, 0, 10**6, sender="owner").gas_used
    # The two of one source share their code, which the transaction has entered already.
    declared = cache.find_program((NODE + "#" + "x" * 9_999 + "\n").encode(), 1).declared
    assert declared == 2 + 4  # an event and an error, of one type each; a Map and three values
    paid = (len(NODE) + 10_001) * GAS_CODE_BYTE + declared * GAS_CODE_RECORD
    assert more - short == paid


def test_at_the_deepest_the_parser_has_the_frames_it_was_promised(tmp_path: Path) -> None:
    """Ten contracts with 32 methods of each on the stack, then one that must be compiled first."""
    helpers = "".join(
        [
            f"    def _h{index}(self, back: address, rounds: uint256) -> uint256:\n"
            f"        return self._h{index + 1}(back, rounds)\n\n"
            for index in range(30)
        ]
    )
    tall = (
        IMPORTS
        + f"""
class Tall(Contract):
    _last: address

    @write
    def aim(self, last: address) -> None:
        self._last = last

    @write(reentrant=True)
    def poke_back(self, back: address, rounds: uint256) -> uint256:
        return self._h0(back, rounds)

{helpers}    def _h30(self, back: address, rounds: uint256) -> uint256:
        if rounds > 0:
            return Peer(back).poke_back(self.address, rounds - 1)
        return Peer(self._last).peek()
"""
    )
    deep = "1" + " + (1" * 30 + ")" * 30
    last = (
        IMPORTS
        + f"""
class Last(Contract):
    @view
    def peek(self) -> uint256:
        return {deep}
"""
    )
    (tmp_path / "tall.py").write_text(tall)
    (tmp_path / "last.py").write_text(last)
    chain = Chain()
    chain.account("owner", 10**6)
    first, second = [chain.deploy(tmp_path / "tall.py", sender="owner") for _ in range(2)]
    end = chain.deploy(tmp_path / "last.py", sender="owner")
    for contract in (first, second):
        contract.aim(end.address, sender="owner")
    for kept in (cache._programs, cache._packed):
        kept.pop((chain.state.get_code_hash(end.address), 1))
    rounds = CALL_DEPTH_MAX - 2
    assert first.poke_back(second.address, rounds, sender="owner").returned == 31


CODING = """
from ledger.contract import (
    Contract, Interface, Struct, abi_decode, abi_encode, address, uint8, uint256, write
)


class Pair(Struct):
    a: uint8
    b: uint256


class Peer(Interface):
    @write
    def swap(self, pair: Pair, more: list[uint8]) -> uint256: ...


class Coding(Contract):
    @write
    def encode(self) -> bytes:
        return abi_encode(Pair(1, 2), self.block.number)

    @write
    def decode(self) -> uint8:
        pair, more = abi_decode(abi_encode(Pair(1, 2), self.block.number), Pair, uint256)
        return pair.a

    @write
    def ask(self, peer: address) -> uint256:
        return Peer(peer).swap(Pair(1, 2), [uint8(3)])

    @write
    def swap(self, pair: Pair, more: list[uint8]) -> uint256:
        return pair.b
"""


def test_a_type_that_is_named_pays_for_its_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not kept, it takes 3 us for each member of each struct that is named."""
    used = []
    for price in (GAS_CODEC_NODE, GAS_CODEC_NODE + 1_000):
        monkeypatch.setattr(values, "GAS_CODEC_NODE", price)
        (tmp_path / "coding.py").write_text(f"{CODING}# {price}\n")
        chain = Chain()
        made, other = (chain.deploy(tmp_path / "coding.py") for _ in range(2))
        calls = [made.encode(), made.decode(), made.ask(other.address)]
        used.append([receipt.gas_used for receipt in calls])
    more = [b - a for a, b in zip(*used, strict=True)]
    assert more == [4_000, 8_000, 6_000]  # a pair is three types, what it is of and itself
