"""The settings of a network: what is hashed into its first block."""

from dataclasses import replace

from ledger.genesis import NETWORK_CONTRACT, Genesis, GenesisContract, Override

MEMBER = b"\1" * 20
OTHER = b"\2" * 20
GENESIS = Genesis(
    name="street",
    chain_id=1947,
    timestamp=1_700_000_000,
    validators=(MEMBER, OTHER),
    gas_limit=15_000_000,
    alloc={MEMBER: 10**30, OTHER: 0},
    contracts=(GenesisContract(NETWORK_CONTRACT, b"class Network: ...\n", b"\1\2"),),
)


def test_a_changed_rule_is_another_network():
    changed = [
        GENESIS,
        replace(GENESIS, name="road"),
        replace(GENESIS, chain_id=2),
        replace(GENESIS, drift_s=11),
        replace(GENESIS, block_period_ms=1),
        replace(GENESIS, simulated=True),
        replace(GENESIS, consensus="pow"),
        replace(GENESIS, consensus="pow", difficulty=2),
    ]

    assert len({one.settings_hash() for one in changed}) == len(changed)


def test_what_stands_in_the_state_or_comes_later_is_no_rule():
    for same in (
        replace(GENESIS, alloc={}),
        replace(GENESIS, validators=(MEMBER,)),
        replace(GENESIS, contracts=()),
        replace(GENESIS, overrides=(Override(7, (OTHER,)),)),
    ):
        assert same.settings_hash() == GENESIS.settings_hash()


def test_the_hash_of_the_settings_is_what_it_always_was():
    known = "61441eea58a733f292eb40a897b93381d54233e38098871d43e12fa60b0cbabc"
    assert GENESIS.settings_hash().hex() == known


def test_a_contract_is_made_by_an_ordinary_creation():
    source, arguments = b"class Network: ...\n", b"\1\2"

    payload = GENESIS.contracts[0].payload()

    assert payload == bytes.fromhex("ef574c01") + b"\0\0\0\x13" + source + arguments
