"""A source replaced and its storage kept: who may, what is refused, what is remembered."""

from typing import Any

import pytest

from ledger.contract.artifact import encode_payload
from ledger.contract.compile import compile_contract
from ledger.contract.execution import Message
from ledger.contract.layout_change import layout_difference
from ledger.contract.model import ContractModel
from ledger.contract.upgrade import UPGRADES, list_sources
from ledger.crypto.address import contract_address
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.genesis import NETWORK_CONTRACT, GenesisContract
from ledger.permissions import UPGRADES_SLOT, upgrade_slot
from ledger.transaction import Transaction, sign_transaction
from node.network_files import make_network_contract
from tests.chain.chains import ACCOUNTS, CHAIN_ID, KEYS, add_block, call, make_chain
from tests.contracts_py.sources import read_contract

HEAD = """
from ledger.contract import (
    Array, Contract, Map, Optional, Role, Struct, address, string, uint64, uint256, view, write
)


class Reading(Struct):
    energy_wh: uint64
    quality: uint64


"""
FIRST = (
    HEAD
    + """
class Meter(Contract):
    _total: uint256
    readings: Map[address, Reading]

    @write
    def add(self, amount: uint256) -> None:
        self._total = self._total + amount

    @view
    def total(self) -> uint256:
        return self._total
"""
)
SECOND = (
    FIRST.replace("    quality: uint64\n", "    quality: uint64\n    note: uint256\n").replace(
        "readings: Map[address, Reading]\n",
        "readings: Map[address, Reading]\n    factor: uint256\n",
    )
    + """
    @view
    def doubled(self) -> uint256:
        return 2 * self._total
"""
)
DEPLOYER, OTHER = 0, 1
CONTRACT = contract_address(ACCOUNTS[DEPLOYER], 0)


def deploy(source: str, key: int = DEPLOYER) -> Transaction:
    data = encode_payload(source.encode())
    return sign_transaction(
        KEYS[key], chain_id=CHAIN_ID, nonce=0, to=None, data=data, gas=10_000_000, gas_price=0
    )


def upgrade(key: int, nonce: int, source: str, to: bytes = CONTRACT, **fields: Any) -> Transaction:
    values = {"gas": 12_000_000, **fields}
    signature = "upgrade(address,bytes)"
    return call(key, nonce, UPGRADES, signature, to, source.encode(), **values)


def make_meter() -> Any:
    chain = make_chain()
    add_block(chain, [deploy(FIRST), call(DEPLOYER, 1, CONTRACT, "add(uint256)", 5)])
    return chain


def read(chain: Any, to: bytes, signature: str, *arguments: Any) -> bytes:
    """The bytes of an answer."""
    types = signature[signature.index("(") + 1 : -1]
    data = abi.selector(signature) + abi.encode(types.split(",") if types else [], arguments)
    message = Message(bytes(20), to, 0, data, 5_000_000, False, bytes(20), 0)
    outcome = chain.call(message, chain.head.number)
    assert outcome.status == "success", outcome
    return bytes(outcome.output)


def error(name: str, *values: Any) -> bytes:
    return abi.encode_call(name, values)


def test_the_deployer_replaces_a_source_and_its_storage_stays() -> None:
    chain = make_meter()
    done = add_block(chain, [upgrade(DEPLOYER, 2, SECOND)])
    receipt = done.receipts[0]
    assert receipt.status == 1, receipt.output
    assert chain.state_at().get_code(CONTRACT) == SECOND.encode()
    assert int.from_bytes(read(chain, CONTRACT, "total()")) == 5
    assert int.from_bytes(read(chain, CONTRACT, "doubled()")) == 10
    old, new = keccak256(FIRST.encode()), keccak256(SECOND.encode())
    topic = abi.topic("Upgraded(address,bytes32,bytes32)")
    assert [log.topics for log in receipt.logs] == [(topic, CONTRACT.rjust(32, b"\0"), old, new)]


MIGRATING = (
    SECOND
    + """
    def migrate(self) -> None:
        self._total = self._total + 1_000
        self.factor = 7
"""
)


def test_migrate_runs_once_in_the_transaction_that_upgrades() -> None:
    chain = make_meter()
    done = add_block(chain, [upgrade(DEPLOYER, 2, MIGRATING)])
    assert done.receipts[0].status == 1, done.receipts[0].output
    assert int.from_bytes(read(chain, CONTRACT, "total()")) == 1_005
    done = add_block(chain, [call(DEPLOYER, 3, CONTRACT, "migrate()")])
    assert done.receipts[0].status == 0, "nobody calls it"
    assert int.from_bytes(read(chain, CONTRACT, "total()")) == 1_005


def test_migrate_is_not_run_by_a_deployment() -> None:
    chain = make_chain()
    add_block(chain, [deploy(MIGRATING)])
    assert int.from_bytes(read(chain, CONTRACT, "total()")) == 0


def test_a_migration_that_fails_leaves_the_old_source_and_no_history() -> None:
    chain = make_meter()
    failing = MIGRATING.replace("self.factor = 7", "self.factor = 7 // (self._total - 1_005)")
    done = add_block(chain, [upgrade(DEPLOYER, 2, failing)])
    assert done.receipts[0].status == 0
    assert done.receipts[0].output[:4] == abi.selector("Panic(uint256)")
    assert done.receipts[0].logs == ()
    state = chain.state_at()
    assert state.get_code(CONTRACT) == FIRST.encode()
    assert list_sources(state, CONTRACT) == [(1, keccak256(FIRST.encode()))]


def test_who_is_neither_owner_nor_approved_upgrades_nothing() -> None:
    chain = make_meter()
    done = add_block(chain, [upgrade(OTHER, 0, SECOND)])
    assert done.receipts[0].status == 0
    assert done.receipts[0].output == error(
        "NotAllowed(address,address)", ACCOUNTS[OTHER], CONTRACT
    )
    assert chain.state_at().get_code(CONTRACT) == FIRST.encode()


def test_an_owner_hands_over_and_to_nobody_for_ever() -> None:
    chain = make_meter()
    hand_over = "setOwner(address,address)"
    done = add_block(
        chain,
        [
            call(DEPLOYER, 2, UPGRADES, hand_over, CONTRACT, ACCOUNTS[OTHER]),
            upgrade(DEPLOYER, 3, SECOND),
        ],
    )
    assert [receipt.status for receipt in done.receipts] == [1, 0]
    assert read(chain, UPGRADES, "ownerOf(address)", CONTRACT)[12:] == ACCOUNTS[OTHER]
    done = add_block(
        chain,
        [
            upgrade(OTHER, 0, SECOND),
            call(OTHER, 1, UPGRADES, hand_over, CONTRACT, bytes(20)),
            upgrade(OTHER, 2, FIRST),
        ],
    )
    assert [receipt.status for receipt in done.receipts] == [1, 1, 0]


def test_a_layout_that_would_misread_storage_is_refused_in_words() -> None:
    chain = make_meter()
    wrong = FIRST.replace("_total: uint256", "_total: uint64")
    done = add_block(chain, [upgrade(DEPLOYER, 2, wrong)])
    assert done.receipts[0].status == 0
    text = "total was uint256 and would be uint64"
    assert done.receipts[0].output == error("IncompatibleLayout(string)", text)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (FIRST, "Unchanged(address)"),
        ("not python at all", "SourceRejected()"),
        (FIRST.replace("return self._total", "return eval(1)"), "SourceRejected()"),
    ],
)
def test_other_sources_that_cannot_stand(source: str, name: str) -> None:
    chain = make_meter()
    done = add_block(chain, [upgrade(DEPLOYER, 2, source)])
    assert done.receipts[0].status == 0
    assert done.receipts[0].output[:4] == abi.selector(name)
    assert chain.state_at().get_code(CONTRACT) == FIRST.encode()


def test_where_nothing_stands_nothing_is_upgraded() -> None:
    chain = make_meter()
    missing = b"\7" * 20
    done = add_block(chain, [upgrade(DEPLOYER, 2, SECOND, to=missing)])
    assert done.receipts[0].output[:4] == abi.selector("NotAllowed(address,address)")


def test_every_limit_below_the_gas_used_is_out_of_gas_and_changes_nothing() -> None:
    used = add_block(make_meter(), [upgrade(DEPLOYER, 2, SECOND)]).receipts[0].gas_used
    for gas in (used, used - 1, used - 7_000, used // 2):
        chain = make_meter()
        receipt = add_block(chain, [upgrade(DEPLOYER, 2, SECOND, gas=gas)]).receipts[0]
        assert (receipt.status, receipt.gas_used) == (int(gas == used), gas)
        assert list_sources(chain.state_at(), CONTRACT)[0][1] == keccak256(FIRST.encode())


def test_the_history_of_sources_is_readable_and_their_text_is_kept() -> None:
    chain = make_meter()
    add_block(chain, [upgrade(DEPLOYER, 2, SECOND)])
    third = SECOND.replace("2 * self", "3 * self")
    add_block(chain, [upgrade(DEPLOYER, 3, third)])
    hashes = [keccak256(text.encode()) for text in (FIRST, SECOND, third)]
    assert list_sources(chain.state_at(), CONTRACT) == list(zip((1, 2, 3), hashes, strict=True))
    answer = read(chain, UPGRADES, "sources(address)", CONTRACT)
    assert abi.decode(("uint64[]", "bytes32[]"), answer) == ([1, 2, 3], hashes)
    chain.flush()
    assert [chain.store.get_code(each) for each in hashes[:2]] == [FIRST.encode(), SECOND.encode()]


def test_coin_and_unknown_methods_are_refused() -> None:
    chain = make_meter()
    done = add_block(
        chain,
        [
            call(DEPLOYER, 2, UPGRADES, "ownerOf(address)", CONTRACT, value=1),
            call(DEPLOYER, 3, UPGRADES, "nothing()"),
        ],
    )
    assert [receipt.status for receipt in done.receipts] == [0, 0]
    assert chain.state_at().get_balance(UPGRADES) == 0


# ---- by the network's voters ---------------------------------------------------------------------


def make_governed() -> Any:
    """A chain whose network contract has one voter, account 0."""
    network: GenesisContract = make_network_contract(
        [ACCOUNTS[0]], [ACCOUNTS[DEPLOYER]], [ACCOUNTS[0]], anyone_deploys=False
    )
    chain = make_chain(contracts=(network,))
    add_block(chain, [deploy(FIRST)])
    return chain


def test_on_a_governed_chain_the_owner_alone_upgrades_nothing() -> None:
    chain = make_governed()
    done = add_block(chain, [upgrade(DEPLOYER, 1, SECOND)])
    assert done.receipts[0].output[:4] == abi.selector("NotAllowed(address,address)")


def approve(source: str) -> Transaction:
    digest = keccak256(source.encode())
    return call(0, 1, NETWORK_CONTRACT, "upgrade(address,bytes32)", CONTRACT, digest, gas=3_000_000)


def test_anybody_brings_the_source_that_the_voters_approved_and_once() -> None:
    chain = make_governed()
    done = add_block(chain, [approve(SECOND), upgrade(OTHER, 0, FIRST + "\n")])
    assert [receipt.status for receipt in done.receipts] == [1, 0]
    done = add_block(chain, [upgrade(OTHER, 1, SECOND)])
    assert done.receipts[0].status == 1
    assert chain.state_at().get_storage(NETWORK_CONTRACT, upgrade_slot(CONTRACT)) == 0
    assert UPGRADES_SLOT == 8
    done = add_block(chain, [upgrade(OTHER, 2, FIRST)])
    assert done.receipts[0].status == 0


def test_the_network_contract_itself_is_upgraded_so() -> None:
    chain = make_governed()
    source = read_contract("network").decode()
    changed = source + "\n# reviewed\n"
    digest = keccak256(changed.encode())
    signature = "upgrade(address,bytes32)"
    arguments = (NETWORK_CONTRACT, digest)
    add_block(chain, [call(0, 1, NETWORK_CONTRACT, signature, *arguments, gas=3_000_000)])
    done = add_block(chain, [upgrade(OTHER, 0, changed, to=NETWORK_CONTRACT, gas=14_900_000)])
    assert done.receipts[0].status == 1, done.receipts[0].output
    assert chain.state_at().get_code(NETWORK_CONTRACT) == changed.encode()


# ---- the comparison ------------------------------------------------------------------------------


def compare(old: str, new: str) -> list[str]:
    return layout_difference(box(old), box(new))


def box(fields: str, head: str = HEAD) -> ContractModel:
    lines = "".join([f"    {line}\n" for line in fields.split("\n")])
    text = (
        f"{head}class Box(Contract):\n{lines}\n    @view\n    def f(self) -> None:\n        pass\n"
    )
    return compile_contract(text.encode()).model


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a: uint64", "a: uint64\nb: uint64"),
        ("_a: uint64", "a: uint64"),
        ("operators = Role()", "operators: Map[address, bool]"),
        ("m: Map[tuple[address, uint64], bool]", "m: Map[address, Map[uint64, bool]]"),
        ("m: Map[address, Optional[Reading]]", "m: Map[address, Optional[Reading]]\nz: string"),
    ],
)  # fmt: skip
def test_these_changes_keep_what_is_stored(old: str, new: str) -> None:
    assert compare(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("a: uint64\nb: uint64", "a: uint64", ["b (uint64, slot 0 byte 8) is gone: keep it"]),
        ("a: uint64\nb: uint64", "b: uint64\na: uint64",
         ["a moved from slot 0 byte 0 to slot 0 byte 8",
          "b moved from slot 0 byte 8 to slot 0 byte 0"]),
        ("a: uint64", "b: string\na: uint64",
         ["a moved from slot 0 byte 0 to slot 1 byte 0", "b is new: declare it after a"]),
        ("a: uint64", "a: uint256", ["a was uint64 and would be uint256"]),
        ("m: Map[address, uint64]", "m: Map[uint64, uint64]",
         ["m was Map[address, uint64] and would be Map[uint64, uint64]"]),
        ("m: Map[address, bool]", "m: Map[address, string]", ["m[] was bool and would be string"]),
        ("a: Array[address]", "a: Array[uint64]", ["a[] was address and would be uint64"]),
        ("m: Map[address, Optional[uint64]]", "m: Map[address, uint64]",
         ["m[] was Optional[uint64] and would be uint64"]),
    ],
)  # fmt: skip
def test_these_would_misread_it(old: str, new: str, told: list[str]) -> None:
    assert compare(old, new) == told


def test_a_struct_grows_only_where_nothing_stands_behind_it() -> None:
    longer = HEAD.replace("quality: uint64\n", "quality: uint64\n    note: uint64\n")
    for fields, told in (
        ("m: Map[address, Reading]", []),
        ("m: Map[address, Optional[Reading]]", []),
        ("m: Map[address, Map[uint64, Reading]]", []),
        ("m: Array[Reading]", ["m[].note is new: this struct cannot grow, other fields follow it"]),
        ("m: Reading", ["m.note is new: this struct cannot grow, other fields follow it"]),
    ):
        assert layout_difference(box(fields), box(fields, longer)) == told
