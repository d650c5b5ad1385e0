"""The network file: what is written is read back, and what is wrong is named."""

import json
from dataclasses import replace

import pytest

from ledger.crypto.address import to_checksum
from ledger.errors import GenesisError
from ledger.genesis import Override
from node.genesis_text import dump_genesis, read_genesis
from tests.chain_data.test_genesis import GENESIS as STREET
from tests.chain_data.test_genesis import MEMBER, OTHER

GENESIS = replace(STREET, block_period_ms=0, simulated=True)


def test_what_is_written_is_read_back():
    text = json.dumps(dump_genesis(GENESIS))

    assert read_genesis(json.loads(text)) == GENESIS


def test_settings_may_be_left_out():
    values = {
        "name": "a",
        "chain_id": 1,
        "timestamp": 0,
        "validators": [to_checksum(MEMBER)],
    }

    genesis = read_genesis(values)

    assert genesis.gas_limit == 24_000_000
    assert genesis.base_fee == 0
    assert genesis.round_timeout_ms_max == 60_000
    assert genesis.consensus == "qbft"
    assert not genesis.simulated


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("name", "", "name: expected a text of 1 to 64 characters"),
        ("name", 5, "name: expected a text"),
        ("chain_id", 0, "chain_id: expected an integer from 1 to 4503599627370476"),
        ("chain_id", "1", "chain_id: expected an integer"),
        ("chain_id", True, "chain_id: expected an integer"),
        ("timestamp", -1, r"timestamp: expected an integer from 0 .* \(Unix seconds\)"),
        ("timestamp", 1.5, "timestamp: expected an integer"),
        ("gas_limit", 20_999, "gas_limit: expected an integer from 21000"),
        ("round_timeout_ms", 0, r"round_timeout_ms: expected .* \(ms\)"),
        ("round_timeout_ms_max", 500, "round_timeout_ms_max: expected at least round_timeout_ms"),
        ("drift_s", None, "drift_s: expected an integer"),
        ("consensus", "raft", "consensus: expected qbft or pow, got 'raft'"),
        ("simulated", 1, "simulated: expected true or false"),
        ("validators", [], "validators: expected 1 to 100 addresses"),
        ("validators", "0x", "validators: expected a list"),
        ("validators", ["0x12"], r"validators\[0\]: an address is 0x and 40"),
        ("validators", [5], r"validators\[0\]: an address is 0x and 40"),
        ("validators", ["0x" + "01" * 20] * 2, "validators: expected .* each once"),
        ("validators", ["0x" + "00" * 20], "validators: expected addresses that are not zero"),
        ("validators", ["0x" + f"{n:040x}" for n in range(1, 102)], "validators: expected 1 to"),
        ("alloc", [], "alloc: expected an object"),
        ("alloc", {"0x12": "1"}, "alloc.0x12: an address"),
        ("alloc", {"0x" + "01" * 20: 5}, "alloc.*: expected wei as decimal text"),
        ("alloc", {"0x" + "01" * 20: "-5"}, "alloc.*: expected wei as decimal text"),
        ("alloc", {"0x" + "01" * 20: "٣"}, "alloc.*: expected wei as decimal text"),
        ("alloc", {"0x" + "01" * 20: "9" * 5_000}, "alloc.*: expected wei as decimal text"),
        ("alloc", {"0x" + "01" * 20: "9" * 78}, r"alloc: expected less than 2\*\*256"),
        ("alloc", {"0x" + "ab" * 20: "1", "0X" + "AB" * 20: "1"}, "each address once"),
        ("contracts", {}, "contracts: expected a list"),
        ("contracts", [5], r"contracts\[0\]: expected a JSON object"),
        ("contracts", [{}], r"address: missing in contracts\[0\]"),
        ("contracts", [{"address": "0x" + "01" * 20, "source": "é"}], r"source: expected a Python"),
        (
            "contracts",
            [{"address": "0x" + "01" * 20, "source": "", "arguments": "0x1"}],
            r"contracts\[0\].arguments: .*odd",
        ),
        (
            "contracts",
            [{"address": "0x" + "01" * 20, "source": ""}] * 2,
            "contracts: expected each address once",
        ),
        ("block_periods_ms", 5, "network file: expected only the keys"),
        ("overrides", {}, "overrides: expected a list"),
        ("overrides", [{"height": 5}], r"validators: missing in overrides\[0\]"),
        ("overrides", [{"height": 0, "validators": ["0x" + "01" * 20]}], "heights from 1 on"),
        ("overrides", [{"height": "5", "validators": ["0x" + "01" * 20]}], "heights from 1 on"),
        ("overrides", [{"height": 5, "validators": []}], "overrides: expected 1 to 100 addresses"),
        (
            "overrides",
            [{"height": 5, "validators": ["0x" + "01" * 20]}] * 2,
            "above the one before",
        ),
        ("overrides", [{"height": 5, "validators": ["0x" + "01" * 20] * 2}], "each once"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(key, value, expected):
    values = dump_genesis(GENESIS) | {key: value}

    with pytest.raises(GenesisError, match=expected):
        read_genesis(values)


@pytest.mark.parametrize("key", ["name", "chain_id", "timestamp", "validators"])
def test_a_missing_key_is_named(key):
    values = dump_genesis(GENESIS)
    del values[key]

    with pytest.raises(GenesisError, match=f"network file: {key}: missing"):
        read_genesis(values)


@pytest.mark.parametrize("values", [None, [], "x", 5])
def test_another_json_value_is_no_network(values):
    with pytest.raises(GenesisError, match="expected a JSON object"):
        read_genesis(values)


def test_a_difficulty_is_proof_of_works_alone_and_leaves_other_networks_as_they_were():
    values = dump_genesis(GENESIS)
    assert "difficulty" not in values
    five, six = (
        read_genesis(values | {"consensus": "pow", "difficulty": number}) for number in (5, 6)
    )
    assert read_genesis(dump_genesis(five)) == five
    assert dump_genesis(five)["difficulty"] == 5
    assert len({one.settings_hash() for one in (GENESIS, five, six)}) == 3
    for change, expected in (
        ({"difficulty": 5}, 'difficulty: expected only with consensus "pow"'),
        ({"consensus": "pow", "difficulty": 0}, "difficulty: expected an integer from 1"),
    ):
        with pytest.raises(GenesisError, match=expected):
            read_genesis(values | change)


def test_miners_have_no_use_for_an_override():
    entry = {"height": 7, "validators": [to_checksum(OTHER)]}
    values = dump_genesis(GENESIS) | {"consensus": "pow", "overrides": [entry]}
    with pytest.raises(GenesisError, match="overrides: expected none"):
        read_genesis(values)


def test_an_override_is_read_back_sorted_and_makes_no_other_network():
    entry = {"height": 7, "validators": [to_checksum(OTHER), to_checksum(MEMBER)]}
    genesis = read_genesis(dump_genesis(GENESIS) | {"overrides": [entry]})
    assert genesis.overrides == (Override(7, (MEMBER, OTHER)),)
    assert read_genesis(dump_genesis(genesis)) == genesis
    assert genesis.settings_hash() == GENESIS.settings_hash()
