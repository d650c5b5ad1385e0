"""A contract and a seed make a story: deployed, called with typed and with spoilt data, digested.

Nothing here knows a contract: what may be called, and with what, is read from its ABI. Shared by
the comparison of versions and the fuzzer. `pick(n)` gives a number below n.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ledger.contract.artifact import encode_payload
from ledger.contract.cache import find_program
from ledger.contract.execution import (
    BlockContext,
    Message,
    Outcome,
    execute_call,
    execute_creation,
    price_source,
)
from ledger.contract.interface import describe_abi
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.errors import ContractRejected, EncodingError
from ledger.state.state import State
from ledger.trie.trie import EMPTY_ROOT

Pick = Callable[[int], int]
ACCOUNTS = [keccak256(f"player {index}".encode())[12:] for index in range(4)]
CONTRACT = keccak256(b"contract")[12:]
NEIGHBOUR = keccak256(b"neighbour")[12:]
NEIGHBOUR_SOURCE = Path(__file__).parents[1] / "contract" / "twins" / "neighbour.py"
"""A contract that answers what contracts ask of others."""
NOW_S = 1_700_000_000
RICH_WEI = 10**24
CONSTRUCTOR_GAS = 2_000_000
"""Beside its source's; one that never ends is paid for many times over."""
DEPLOYS_MAX = 30
"""Constructors refuse most numbers; by then one was to its liking, or none will be."""
TEXTS = ("", "a", "Grid", "\u00e9\u4e16\U0001f50b", "x" * 31, "y" * 32, "z" * 100)


class NothingStored:
    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        return None

    def get_code(self, code_hash: bytes) -> bytes | None:
        return None


def make_int(pick: Pick, bits: int, signed: bool) -> int:
    """Small, at a bound, a time, or anything that fits."""
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    kind = pick(8)
    if kind < 4:
        value = pick(5) * 10 ** pick(4)
    elif kind == 4:
        value = (low, high - 1, -1, high // 2)[pick(4)]
    elif kind == 5:
        value = (NOW_S, NOW_S // 3_600, NOW_S // 900, 3_600, 900)[pick(5)] + pick(3) * pick(3)
    else:
        value = pick(1 << 32) * pick(1 << 32) ** pick(4)
    return low + (value - low) % (high - low)


def make_value(pick: Pick, entry: dict[str, Any]) -> Any:
    """A value of an ABI parameter."""
    type_ = entry["type"]
    if type_.endswith("]"):
        inner, _, size = type_[:-1].rpartition("[")
        count = int(size) if size else pick(4)
        return [make_value(pick, {**entry, "type": inner}) for _ in range(count)]
    if type_ == "tuple":
        return tuple(make_value(pick, each) for each in entry["components"])
    if type_ == "address":
        return (*ACCOUNTS, CONTRACT, bytes(20), NEIGHBOUR)[pick(7)]
    if type_ == "bool":
        return pick(2) == 1
    if type_ == "string":
        return TEXTS[pick(len(TEXTS))]
    if type_ == "bytes":
        return bytes(pick(256) for _ in range((0, 3, 32, 65, 200)[pick(5)]))
    if type_.startswith("bytes"):
        return bytes(pick(256) for _ in range(int(type_[5:])))
    return make_int(pick, int(type_.lstrip("uint") or 256), type_[0] == "i")


def spell_type(entry: dict[str, Any]) -> str:
    type_: str = entry["type"]
    if not type_.startswith("tuple"):
        return type_
    return f"({','.join(spell_type(each) for each in entry['components'])}){type_[5:]}"


def encode_inputs(pick: Pick, inputs: list[dict[str, Any]]) -> bytes:
    values = [make_value(pick, each) for each in inputs]
    try:
        return abi.encode([spell_type(each) for each in inputs], values)
    except EncodingError as error:
        raise AssertionError(f"{inputs} {values}") from error


def spoil(pick: Pick, data: bytes) -> bytes:
    """Call data that a client would not send."""
    spoilt = bytearray(data)
    for _ in range(1 + pick(3)):
        at = pick(len(spoilt) + 1)
        kind = pick(4)
        if kind == 0:
            del spoilt[at : at + 1 + pick(40)]
        elif kind == 1:
            spoilt[at:at] = bytes(pick(256) for _ in range(1 + pick(33)))
        elif at < len(spoilt):
            spoilt[at] = pick(256) if kind == 2 else spoilt[at] ^ 1 << pick(8)
    return bytes(spoilt)


class Story:
    """One contract on a state of its own."""

    def __init__(self, source: bytes, pick: Pick) -> None:
        self.source, self.pick = source, pick
        self.entries = describe_abi(find_program(source, 1).compiled.model)
        self.state = State(NothingStored(), EMPTY_ROOT)
        self.now_s, self.height = NOW_S, 1
        for account in ACCOUNTS:
            self.state.set_balance(account, RICH_WEI)
        self.state.set_code(NEIGHBOUR, NEIGHBOUR_SOURCE.read_bytes())

    def deploy(self) -> Outcome:
        inputs = [each["inputs"] for each in self.entries if each["type"] == "constructor"]
        arguments = encode_inputs(self.pick, inputs[0]) if inputs else b""
        data = encode_payload(self.source, arguments)
        gas = price_source(self.source) + CONSTRUCTOR_GAS
        return self.send(execute_creation, ACCOUNTS[0], data, 0, gas)

    def call(self, gas: int = 3_000_000) -> Outcome:
        """A method by chance, mostly by the owner, mostly with data that decodes."""
        pick = self.pick
        methods = [each for each in self.entries if each["type"] == "function"]
        if not methods:
            return self.send(execute_call, ACCOUNTS[0], bytes(pick(9)), pick(2), gas)
        method = methods[pick(len(methods))]
        signature = f"{method['name']}({','.join(map(spell_type, method['inputs']))})"
        data = abi.selector(signature) + encode_inputs(pick, method["inputs"])
        if pick(8) == 0:
            data = spoil(pick, data)
        if pick(8) == 0:
            gas = pick(30_000)
        sender = ACCOUNTS[max(0, pick(7) - 3)]
        pays = pick(2) if method["stateMutability"] == "payable" else pick(16) == 0
        self.now_s += pick(2) * pick(5_000)
        self.height += pick(2)
        return self.send(execute_call, sender, data, pays * 10 ** pick(20), gas)

    def send(
        self,
        execute: Callable[[State, BlockContext, Message], Outcome],
        sender: bytes,
        data: bytes,
        value: int,
        gas: int,
    ) -> Outcome:
        """As a transaction does: value moves, and what fails is undone."""
        state = self.state
        block = BlockContext(self.height, self.now_s, ACCOUNTS[3], 15_000_000, 0, 1947)
        snapshot = state.snapshot()
        value = min(value, state.get_balance(sender))
        state.sub_balance(sender, value)
        state.add_balance(CONTRACT, value)
        outcome = execute(
            state, block, Message(sender, CONTRACT, value, data, gas, False, sender, 0)
        )
        assert 0 <= outcome.gas_left <= gas
        if outcome.status != "success":
            state.revert(snapshot)
        return outcome

    def play(self, calls: int) -> Iterator[Outcome]:
        """Deployments until one succeeds, then so many calls."""
        for _ in range(DEPLOYS_MAX):
            outcome = self.deploy()
            yield outcome
            if outcome.status == "success":
                break
        else:
            return
        for _ in range(calls):
            yield self.call()


def digest_outcome(outcome: Outcome) -> bytes:
    logs = [(log.address, tuple(log.topics), log.data) for log in outcome.logs]
    return repr((outcome.status, outcome.gas_left, outcome.output, logs)).encode()


def digest_story(source: bytes, pick: Pick, calls: int) -> str:
    """One digest of results, gas, events and the state's root, all storage in it."""
    digest = hashlib.sha256()
    try:
        story = Story(source, pick)
    except ContractRejected:
        return "refused"
    for outcome in story.play(calls):
        digest.update(digest_outcome(outcome))
    digest.update(story.state.commit().root)
    return digest.hexdigest()[:16]
