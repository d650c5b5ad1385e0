"""One contract twice, in Python and in Solidity: the same calls, answers, logs and storage.

The Solidity twin is compiled by solc and run in an EVM (the npm package @ethereumjs/evm), so every
word of storage, every slot, topic and revert is compared with Ethereum's own.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import eth_abi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.contract.artifact import build_artifact, encode_payload
from ledger.contract.execution import (
    BlockContext,
    Message,
    Outcome,
    execute_call,
    execute_creation,
)
from ledger.crypto.keccak import keccak256
from ledger.encoding.abi import encode_call

TWINS = Path(__file__).parent / "twins"
NODE_MODULES = Path(__file__).parents[2] / ".tools" / "node" / "node_modules"
SOURCE = (TWINS / "ledger_twin.py").read_bytes()
CONTRACT = b"\xc0" * 20
SENDERS = [b"\x01" * 20, b"\x02" * 20]
BLOCK = BlockContext(1, 1_700_000_000, bytes(20), 30_000_000, 0, 1947)
READING = "(uint64,int16,uint8,bool,address)"
PANIC = keccak256(b"Panic(uint256)")[:4]
Call = tuple[str, tuple[Any, ...], int, int]  # signature, arguments, sender, value


class Accounts:
    """A state of one contract, as a dict."""

    def __init__(self) -> None:
        self.words: dict[bytes, int] = {}
        self.code = b""

    def get_storage(self, address: bytes, slot: bytes) -> int:
        return self.words.get(slot, 0)

    def set_storage(self, address: bytes, slot: bytes, word: int) -> None:
        self.words[slot] = word

    def get_code(self, address: bytes) -> bytes:
        return self.code

    def get_code_hash(self, address: bytes) -> bytes:
        return keccak256(self.code)

    def set_code(self, address: bytes, code: bytes) -> None:
        self.code = code


def run_python(name: str, tags: list[bytes], calls: list[Call]) -> tuple[list[Outcome], Any]:
    arguments = eth_abi.encode(["string", "bytes4[]"], [name, tags])
    state: Any = Accounts()
    payload = encode_payload(SOURCE, arguments)
    made = Message(SENDERS[calls[0][2]], CONTRACT, 0, payload, 30_000_000, False, SENDERS[0], 0)
    assert execute_creation(state, BLOCK, made).status == "success"
    outcomes = []
    for signature, values, sender, value in calls:
        before = dict(state.words)
        data = encode_call(signature, values)
        message = Message(SENDERS[sender], CONTRACT, value, data, 30_000_000, False, bytes(20), 0)
        outcomes.append(execute_call(state, BLOCK, message))
        if outcomes[-1].status != "success":
            state.words = before
    return outcomes, {slot: word for slot, word in state.words.items() if word}


def run_solidity(name: str, tags: list[bytes], calls: list[Call]) -> tuple[list[Any], Any]:
    if not (NODE_MODULES / "@ethereumjs").is_dir() or shutil.which("node") is None:
        pytest.skip("EVM: npm install --prefix .tools/node solc ethers @ethereumjs/evm")
    job = {
        "source": (TWINS / "twin.sol").read_text(),
        "name": "Twin",
        "arguments": eth_abi.encode(["string", "bytes4[]"], [name, tags]).hex(),
        "calls": [
            {
                "sender": SENDERS[sender].hex(),
                "data": encode_call(signature, values).hex(),
                "value": value,
            }
            for signature, values, sender, value in calls
        ],
    }
    done = subprocess.run(
        ["node", str(TWINS / "run_evm.mjs"), str(NODE_MODULES)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    storage = {bytes.fromhex(slot): int(word, 16) for slot, word in answer["storage"].items()}
    return answer["results"], {slot: word for slot, word in storage.items() if word}


def check_twins(name: str, tags: list[bytes], calls: list[Call]) -> None:
    ours, our_storage = run_python(name, tags, calls)
    theirs, their_storage = run_solidity(name, tags, calls)
    for call, outcome, result in zip(calls, ours, theirs, strict=True):
        assert (outcome.status != "success") == result["failed"], (call, outcome, result)
        if outcome.status == "panic":
            assert result["output"][:8] == PANIC.hex(), (call, outcome, result)
        else:
            assert outcome.output.hex() == result["output"], (call, outcome, result)
        logs = [[[each.hex() for each in log.topics], log.data.hex()] for log in outcome.logs]
        assert logs == result["logs"], call
    assert our_storage == their_storage


ADDRESS = b"\xaa" * 20
LONG = "ein längerer Text, der nicht in ein Wort passt: " * 2


def store(period: int, *reading: Any, note: str = "", sender: int = 0) -> Call:
    return (f"store(uint32,{READING},string)", (period, reading, note), sender, 0)


def rename(name: str, blob: bytes, tag: bytes, amounts: list[int]) -> Call:
    return ("rename(string,bytes,bytes4,uint64[])", (name, blob, tag, amounts), 0, 0)


def shrink(index: int) -> Call:
    return ("shrink(uint256)", (index,), 0, 0)


def get_all(period: int, sender: int = 0) -> Call:
    return ("getAll(uint32)", (period,), sender, 0)


def test_the_twins_agree_on_a_story():
    calls = [
        store(1, 1_250, -3, 8, True, ADDRESS, note="first"),
        store(1, 1_250, -3, 8, True, ADDRESS, note="again"),
        store(1, 2**64 - 1, 32_767, 255, False, ADDRESS, note=LONG, sender=1),
        store(2, 0, 0, 0, False, bytes(20)),
        store(3, 1, -32_768, 0, True, ADDRESS, note="the sum leaves int16"),
        rename("kurz", b"\0\xff", b"abcd", [1, 100, 101, 32_767]),
        rename(LONG, LONG.encode() * 3, b"wxyz", list(range(90, 120))),
        get_all(1),
        get_all(1, sender=1),
        rename("x" * 31, b"y" * 32, b"abcd", []),
        get_all(9),
        ("getHistory()", (), 0, 0),
        ("has(uint32)", (1,), 0, 0),
        shrink(5),
        shrink(99),
        ("has(uint32)", (1,), 0, 0),
        shrink(0),
        ("close()", (), 0, 5),
        ("close()", (), 0, 0),
        get_all(2),
    ]
    check_twins("der Anfang", [b"abcd", b"\0\0\0\1"], calls)


def test_the_artifact_names_what_solidity_names():
    names = {each.get("name") for each in build_artifact(SOURCE)["abi"]}
    assert {"store", "rename", "shrink", "close", "getAll", "Stored", "Named", "Refused"} <= names


texts = st.text(st.characters(codec="utf-8"), max_size=70)
readings = st.tuples(
    st.integers(0, 2**64 - 1),
    st.integers(-400, 400) | st.integers(-(2**15), 2**15 - 1),
    st.integers(0, 255),
    st.booleans(),
    st.binary(min_size=20, max_size=20),
)
senders = st.integers(0, 1)
generated = st.one_of(
    st.builds(
        lambda period, reading, note, sender: store(period, *reading, note=note, sender=sender),
        st.integers(0, 6), readings, texts, senders,
    ),
    st.builds(
        rename, texts, st.binary(max_size=100), st.sampled_from([b"abcd", b"\0\0\0\1"]),
        st.lists(st.integers(0, 2**15 - 1), max_size=12),
    ),
    st.builds(shrink, st.integers(0, 12)),
    st.builds(get_all, st.integers(0, 6), senders),
    st.just(("getHistory()", (), 0, 0)),
    st.builds(lambda sender: ("has(uint32)", (1,), sender, 0), senders),
)  # fmt: skip


@settings(max_examples=3)
@given(texts, st.lists(generated, min_size=40, max_size=120))
def test_the_twins_agree_on_generated_calls(name, calls):
    check_twins(name, [b"abcd"], calls)
