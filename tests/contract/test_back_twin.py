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
from ledger.crypto.secp256k1 import sign
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


def run_python(
    source: bytes, arguments: bytes, calls: list[Call]
) -> tuple[list[Outcome], dict[bytes, int]]:
    state: Any = Accounts()
    payload = encode_payload(source, arguments)
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


def run_solidity(
    source: str, name: str, arguments: bytes, calls: list[Call]
) -> tuple[list[Any], Any]:
    if not (NODE_MODULES / "@ethereumjs").is_dir() or shutil.which("node") is None:
        pytest.skip("EVM: npm install --prefix .tools/node solc ethers @ethereumjs/evm")
    job = {
        "source": (TWINS / source).read_text(),
        "name": name,
        "arguments": arguments.hex(),
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


def compare_twins(name: str, tags: list[bytes], calls: list[Call]) -> list[Any]:
    arguments = eth_abi.encode(["string", "bytes4[]"], [name, tags])
    return compare(
        calls,
        run_python(SOURCE, arguments, calls),
        run_solidity("twin.sol", "Twin", arguments, calls),
    )


def compare_shapes(calls: list[Call]) -> list[Any]:
    ours = run_python((TWINS / "shapes_twin.py").read_bytes(), b"", calls)
    return compare(calls, ours, run_solidity("shapes.sol", "Shapes", b"", calls))


def compare(calls: list[Call], python: Any, solidity: Any) -> list[Any]:
    """What differs: calls with both outcomes, and the words that one storage has alone."""
    (ours, our_storage), (theirs, their_storage) = python, solidity
    differing: list[Any] = sorted(our_storage.items() ^ their_storage.items())
    for call, outcome, result in zip(calls, ours, theirs, strict=True):
        if outcome.status == "panic":  # which one, each language says in its own way
            same = result["output"][:8] == PANIC.hex()
        else:
            same = result["output"] == outcome.output.hex()
        logs = [[[each.hex() for each in log.topics], log.data.hex()] for log in outcome.logs]
        same = same and logs == result["logs"]
        if not same or (outcome.status != "success") != result["failed"]:
            differing.append((call, outcome, result))
    return differing


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
    assert compare_twins("der Anfang", [b"abcd", b"\0\0\0\1"], calls) == []


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
    assert compare_twins(name, [b"abcd"], calls) == []


# ---- enums, fixed lists, structs of structs, arrays of arrays ------------------------------------

SITE = "(string,(int32,int32,uint8),uint16[5],address[],bool)"


def set_site(key: int, *site: Any) -> Call:
    return (f"setSite(uint8,{SITE})", (key, site), 0, 0)


def move(key: int, x: int, share: int, owner: bytes) -> Call:
    return ("move(uint8,int32,uint16,address)", (key, x, share, owner), 0, 0)


def get_site(key: int) -> Call:
    return ("getSite(uint8)", (key,), 0, 0)


def hashes(key: int, text: str, amounts: list[int]) -> Call:
    return ("hashes(uint8,string,uint64[])", (key, text, amounts), 0, 0)


def set_stage(stage: int, index: int) -> Call:
    return ("setStage(uint8,uint8)", (stage, index), 0, 0)


def test_shapes_agree_on_a_story():
    owners = [b"\xaa" * 20, b"\xbb" * 20, b"\xcc" * 20]
    digest, key = keccak256(b"digest"), b"\x11" * 32
    y_parity, r, s = sign(key, digest)
    signed = (digest, 27 + y_parity, r.to_bytes(32, "big"), s.to_bytes(32, "big"))
    calls = [
        set_stage(2, 0),
        set_stage(1, 39),
        set_stage(1, 40),
        set_stage(3, 0),
        ("setShares(uint16[5],uint128)", ([1, 2, 3, 4, 65_535], 2**128 - 1), 0, 0),
        move(1, 5, 6, owners[0]),
        set_site(1, LONG, (-5, 2**31 - 1, 1), [9, 8, 7, 6, 5], owners, True),
        set_site(2, "kurz", (1, 2, 2), [0, 0, 1, 0, 0], [], False),
        set_site(1, "x", (3, -4, 0), [5, 4, 3, 2, 1], owners[:1], True),
        set_site(1, "x", (3, -4, 3), [5, 4, 3, 2, 1], owners[:1], True),
        move(1, -77, 1_234, owners[2]),
        get_site(1),
        get_site(7),
        ("drop()", (), 0, 0),
        ("drop()", (), 0, 0),
        ("drop()", (), 0, 0),
        ("drop()", (), 0, 0),
        ("track(uint8,int32)", (4, -1), 0, 0),
        ("track(uint8,int32)", (4, 2**31 - 1), 1, 0),
        ("track(uint8,int32)", (4, 8), 0, 0),
        ("putRow(uint8)", (7,), 0, 0),
        ("putRow(uint8)", (8,), 0, 0),
        ("setGrid(uint8,uint8,uint64)", (2, 1, 2**64 - 1), 0, 0),
        ("setGrid(uint8,uint8,uint64)", (0, 1, 1), 0, 0),
        ("setGrid(uint8,uint8,uint64)", (3, 0, 1), 0, 0),
        ("setGrid(uint8,uint8,uint64)", (0, 2, 1), 0, 0),
        hashes(1, LONG, [1, 2, 2**64 - 1]),
        hashes(9, "", []),
        ("signer(bytes32,uint8,bytes32,bytes32)", signed, 0, 0),
        ("signer(bytes32,uint8,bytes32,bytes32)", (*signed[:1], 29, *signed[2:]), 0, 0),
        ("signer(bytes32,uint8,bytes32,bytes32)", (digest, 27, bytes(32), bytes(32)), 0, 0),
        ("decoded(bytes)", (eth_abi.encode(["uint64", "string"], [5, LONG]),), 0, 0),
    ]
    assert compare_shapes(calls) == []


sites = st.builds(
    set_site,
    st.integers(0, 3),
    texts,
    st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-9, 9), st.integers(0, 2)),
    st.lists(st.integers(0, 2**16 - 1), min_size=5, max_size=5),
    st.lists(st.binary(min_size=20, max_size=20), max_size=6),
    st.booleans(),
)
shapes = st.one_of(
    sites,
    st.builds(
        move,
        st.integers(0, 3),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(0, 2**16 - 1),
        st.binary(min_size=20, max_size=20),
    ),
    st.builds(get_site, st.integers(0, 3)),
    st.builds(set_stage, st.integers(0, 4), st.integers(0, 41)),
    st.builds(hashes, st.integers(0, 3), texts, st.lists(st.integers(0, 2**64 - 1), max_size=5)),
    st.builds(lambda value: ("putRow(uint8)", (value,), 0, 0), st.integers(0, 255)),
    st.just(("drop()", (), 0, 0)),
)


@settings(max_examples=2)
@given(st.lists(shapes, min_size=30, max_size=80))
def test_shapes_agree_on_generated_calls(calls):
    assert compare_shapes(calls) == []


def test_the_json_abi_of_shapes_is_that_of_solc():
    """Types, components and internal types; names of arguments lose an underscore with us."""
    script = """
    const solc = require("solc");
    const content = require("fs").readFileSync(0, "utf8");
    const job = { language: "Solidity", sources: { "a.sol": { content } },
                  settings: { outputSelection: { "*": { "*": ["abi"] } } } };
    const output = JSON.parse(solc.compile(JSON.stringify(job)));
    process.stdout.write(JSON.stringify(output.contracts["a.sol"].Shapes.abi));
    """
    if not (NODE_MODULES / "solc").is_dir() or shutil.which("node") is None:
        pytest.skip("solc: npm install --prefix .tools/node solc")
    done = subprocess.run(
        ["node", "-e", script],
        input=(TWINS / "shapes.sol").read_text(),
        capture_output=True,
        text=True,
        env={"NODE_PATH": str(NODE_MODULES), "PATH": "/usr/bin:/bin:/usr/local/bin"},
        check=True,
    )

    def plain(entries: list[dict[str, Any]]) -> dict[str, Any]:
        for entry in entries:
            for each in [*entry["inputs"], *entry.get("outputs", [])]:
                each["name"] = each["name"].rstrip("_")
        views = {entry["name"]: {**entry, "stateMutability": ""} for entry in entries}
        return {name: views[name] for name in sorted(views)}

    ours = build_artifact((TWINS / "shapes_twin.py").read_bytes())["abi"]
    assert plain(ours) == plain(json.loads(done.stdout))
