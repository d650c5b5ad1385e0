"""`verify bill` believes nobody: every kind of lie ends in an error that names what is false."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from ledger.block import Certificate, decode_certificate, decode_header
from ledger.contract.compile import compile_contract
from ledger.crypto.address import address_of, parse_address
from ledger.crypto.secp256k1 import sign_compact
from ledger.encoding import rlp
from node.billing.words import Layout
from tests.commands.conftest import FIRST_PERIOD, HOME, METER, Grid
from tests.commands.liars import Ask, Lie, run_liar
from tests.commands.terminal import fail, run, succeed

LAYOUT = Layout(
    compile_contract(resources.files("contracts_py").joinpath("metering.py").read_bytes()).model
)
STRANGER_KEY = bytes([7]) * 32


def slot_of(field: str, *keys: Any) -> str:
    return "0x" + LAYOUT.value_slot(field, *keys).hex()


READING = slot_of("_readings", parse_address(METER), FIRST_PERIOD + 5)
ABSENT = slot_of("_readings", parse_address(METER), FIRST_PERIOD + 100)
TOTAL = slot_of("_months", parse_address(HOME), 12 * 2026 + 9)


def verify(grid: Grid, url: str, *more: object) -> tuple[object, ...]:
    return ("verify", "bill", "--network", grid.network, *grid.bill, "--rpc", url, *more)


def refuse(grid: Grid, lie: Lie) -> str:
    """The error of a proof from a node that tells this lie."""
    with run_liar(grid.devnet.url, lie) as url:
        return fail(*verify(grid, url))


def test_an_honest_node_proves_the_bill_that_it_tells(grid: Grid) -> None:
    proved = json.loads(succeed(*verify(grid, grid.devnet.url, "--json")))
    told = json.loads(succeed("bill", *grid.bill, "--json", *grid.rpc))
    assert {key: proved[key] for key in told} == told
    assert proved["proved"]["standardContract"] is True
    assert proved["proved"]["storageProofs"] > 744
    text = " ".join(succeed(*verify(grid, grid.devnet.url)).split())
    assert "\x1b" not in text
    for words in ("1 of 1 validators signed block", "s ago", "Not proved", "no newer block exists"):
        assert words in text, words


def test_a_relay_that_changes_nothing_changes_nothing(grid: Grid) -> None:
    with run_liar(grid.devnet.url, lambda method, params, result, ask: result) as url:
        assert "Proved" in succeed(*verify(grid, url))


def of_proof(slot: str, change: Any) -> Lie:
    """A lie about one slot in whatever eth_getProof gives."""

    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        if method == "eth_getProof":
            for one, asked in zip(result["storageProof"], params[1], strict=True):
                if asked == slot:
                    change(one, params, ask)
        return result

    return lie


@pytest.mark.parametrize("slot", [READING, TOTAL], ids=["reading", "total"])
def test_one_changed_word_of_storage(grid: Grid, slot: str) -> None:
    def change(one: dict[str, Any], params: list[Any], ask: Ask) -> None:
        leaf = bytes.fromhex(one["proof"][-1][2:])
        path, value = rlp.decode(leaf)
        assert isinstance(value, bytes)
        word = int.from_bytes(rlp.decode(value), "big") + 1
        one["proof"][-1] = "0x" + rlp.encode([path, rlp.encode(rlp.encode_uint(word))]).hex()
        one["value"] = hex(word)

    error = refuse(grid, of_proof(slot, change))
    assert "of the proof is not the one that the root commits to" in error
    assert f"gave a false proof of the storage of {grid.contract} in block " in error


def test_the_value_beside_a_proof_is_not_read(grid: Grid) -> None:
    honest = succeed(*verify(grid, grid.devnet.url, "--json"))

    def change(one: dict[str, Any], params: list[Any], ask: Ask) -> None:
        one["value"] = "0x1"

    with run_liar(grid.devnet.url, of_proof(READING, change)) as url:
        heard = succeed(*verify(grid, url, "--json"))
    assert json.loads(heard)["amount"] == json.loads(honest)["amount"]


def test_a_reading_passed_off_as_absent_by_the_proof_of_another(grid: Grid) -> None:
    def change(one: dict[str, Any], params: list[Any], ask: Ask) -> None:
        absent = ask("eth_getProof", params[0], [ABSENT], params[2])["storageProof"][0]
        one["proof"], one["value"] = absent["proof"], "0x0"

    assert "gave a false proof of the storage" in refuse(grid, of_proof(READING, change))


@pytest.mark.parametrize("kept", [0, 1, -1])
def test_a_proof_that_is_cut_off(grid: Grid, kept: int) -> None:
    def change(one: dict[str, Any], params: list[Any], ask: Ask) -> None:
        one["proof"] = one["proof"][:kept]

    assert "gave a false proof of the storage" in refuse(grid, of_proof(READING, change))


def test_a_reading_left_out_of_the_answer(grid: Grid) -> None:
    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        if method == "eth_getProof" and READING in params[1]:
            del result["storageProof"][params[1].index(READING)]
        return result

    assert "did not prove each slot it was asked for" in refuse(grid, lie)


def of_header(change: Any) -> Lie:
    """A lie in wattledger_getHeaderProof."""

    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        if method == "wattledger_getHeaderProof":
            change(result)
        return result

    return lie


def test_a_header_with_another_state(grid: Grid) -> None:
    def change(answer: dict[str, Any]) -> None:
        fields = rlp.decode(bytes.fromhex(answer["header"][2:]))
        fields[3] = bytes([1]) * 32
        answer["header"] = "0x" + rlp.encode(fields).hex()

    assert "certificate of block" in refuse(grid, of_header(change))


def forge(answer: dict[str, Any], **changes: Any) -> None:
    """Another certificate for the same header."""
    header = decode_header(bytes.fromhex(answer["header"][2:]))
    honest = decode_certificate(bytes.fromhex(answer["certificate"][2:]))
    fields = {
        "height": header.number, "round": honest.round, "block_hash": header.hash,
        "signatures": honest.signatures, **changes,
    }  # fmt: skip
    answer["certificate"] = "0x" + Certificate(**fields).encode().hex()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"signatures": ()}, "0 signatures, 1 of 1 validators are needed"),
        ({"signatures": (sign_compact(STRANGER_KEY, bytes(32)),)}, "no validator of it"),
        ({"signatures": (bytes(65),)}, "certificate of block"),
        ({"round": 99}, "no validator of it"),
        ({"height": 1}, "it is for another block"),
    ],
    ids=["nobody", "stranger", "zeros", "other round", "other block"],
)
def test_a_forged_certificate(grid: Grid, changes: dict[str, Any], expected: str) -> None:
    error = refuse(grid, of_header(lambda answer: forge(answer, **changes)))
    assert error.startswith("certificate of block ")
    assert expected in error


def test_validators_of_the_nodes_own_making(grid: Grid) -> None:
    """A whole block of its own, signed by its own validator: nothing leads there from the file."""
    from ledger.block import commit_digest, validators_hash
    from ledger.chain import Chain
    from ledger.store.memory import MemoryStore
    from node.network_files import load_network_file

    genesis = load_network_file(grid.network).genesis
    genesis_hash = Chain(MemoryStore(), genesis).genesis_hash
    stranger = address_of(STRANGER_KEY)

    def change(answer: dict[str, Any]) -> None:
        fields = rlp.decode(bytes.fromhex(answer["header"][2:]))
        fields[3], fields[12] = bytes([1]) * 32, validators_hash([stranger])
        answer["header"] = "0x" + rlp.encode(fields).hex()
        header = decode_header(rlp.encode(fields))
        digest = commit_digest(genesis.chain_id, genesis_hash, header.number, 0, header.hash)
        forge(answer, round=0, signatures=(sign_compact(STRANGER_KEY, digest),))
        answer["validators"] = ["0x" + stranger.hex()]

    assert "the validators of block" in refuse(grid, of_header(change))


def test_another_block_than_was_asked_for(grid: Grid) -> None:
    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        if method == "wattledger_getHeaderProof":
            return ask(method, "0x1")
        return result

    assert "gave block 1, asked for" in refuse(grid, lie)


@pytest.mark.parametrize("changes", [["0x1"], ["0x2", "0x1"], ["0x7fffffff"]])
def test_changes_of_validators_that_never_were(grid: Grid, changes: list[str]) -> None:
    """Blocks that changed nothing may be walked; what is out of order or not there may not."""

    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        return changes if method == "wattledger_getValidatorChanges" else result

    with run_liar(grid.devnet.url, lie) as url:
        done = run(*verify(grid, url, "--json"))
    if changes == ["0x2", "0x1"]:
        assert done.err == "error: block 1 is not after block 2\n"
    else:
        honest = json.loads(succeed(*verify(grid, grid.devnet.url, "--json")))
        assert json.loads(done.out)["amount"] == honest["amount"]


def test_another_source_than_the_chains(grid: Grid) -> None:
    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        return result + "0a" if method == "eth_getCode" else result

    assert "gave a source that is not the one the chain holds" in refuse(grid, lie)


def test_an_account_that_is_not_under_the_state_root(grid: Grid) -> None:
    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        if method == "eth_getProof":
            result["accountProof"] = ask("eth_getProof", HOME, [], params[2])["accountProof"]
        return result

    assert f"gave a false proof of {grid.contract} in block " in refuse(grid, lie)


def test_a_refusal_does_not_command_the_terminal(grid: Grid) -> None:
    def lie(method: str, params: list[Any], result: Any, ask: Ask) -> Any:
        return "\x1b[2J" if method == "eth_blockNumber" else result

    error = refuse(grid, lie)
    assert "\x1b" not in error


def test_a_node_of_another_network(grid: Grid, tmp_path: Path) -> None:
    network = json.loads(grid.network.read_text())
    network["timestamp"] += 1
    (tmp_path / "network.json").write_text(json.dumps(network))
    command = list(verify(grid, grid.devnet.url))
    command[3] = tmp_path / "network.json"
    assert "is a node of another network" in fail(*command)


@pytest.mark.parametrize(
    "method",
    ["eth_getProof", "wattledger_getHeaderProof", "eth_getCode", "eth_blockNumber",
     "wattledger_getValidatorChanges", "eth_getBlockByNumber"],
)  # fmt: skip
@pytest.mark.parametrize("nonsense", [None, 7, "0x", "text", [], {}, ["0x"], {"proof": 1}])
def test_nonsense_ends_in_one_line(grid: Grid, method: str, nonsense: Any) -> None:
    def lie(asked: str, params: list[Any], result: Any, ask: Ask) -> Any:
        return nonsense if asked == method else result

    with run_liar(grid.devnet.url, lie) as url:
        done = run(*verify(grid, url))
    if method == "wattledger_getValidatorChanges" and nonsense in ([], {}):
        assert done.code == 0  # which is true
        return
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
