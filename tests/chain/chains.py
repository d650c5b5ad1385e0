"""A chain in memory with one validator, and the words that tests say to it."""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from ledger.block import Certificate
from ledger.chain import Built, Chain, Committed
from ledger.contract.artifact import build_artifact
from ledger.crypto.address import address_of, contract_address
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_data
from ledger.genesis import Genesis
from ledger.store.base import Store
from ledger.store.memory import MemoryStore
from ledger.transaction import Transaction, sign_transaction

KEYS = [bytes([index]) * 32 for index in range(1, 6)]
ACCOUNTS = [address_of(key) for key in KEYS]
CHAIN_ID = 1947
COINS = 10**18


def make_genesis(**settings: Any) -> Genesis:
    values: dict[str, Any] = {
        "name": "memory",
        "chain_id": CHAIN_ID,
        "timestamp": 1_000,
        "validators": (ACCOUNTS[0],),
        "alloc": dict.fromkeys(ACCOUNTS[:4], COINS),
    }
    return Genesis(**{**values, **settings})


def make_chain(store: Store | None = None, **settings: Any) -> Chain:
    options = {key: settings.pop(key) for key in ("flush_blocks", "states_kept") if key in settings}
    return Chain(store or MemoryStore(), make_genesis(**settings), **options)


def build(chain: Chain, transactions: Sequence[Transaction], now_s: int = 2_000) -> Built:
    return chain.build(transactions, now_s, ACCOUNTS[0])


def add_block(
    chain: Chain, transactions: Sequence[Transaction] = (), now_s: int = 2_000
) -> Committed:
    """Build and commit; every transaction must have found its place."""
    built = build(chain, transactions, now_s)
    assert not built.refused, built.refused
    return commit(chain, built)


def commit(chain: Chain, built: Built) -> Committed:
    block = built.block
    return chain.commit(block, Certificate(block.number, 0, block.hash, ()), None)


def transfer(key: int, nonce: int, to: bytes, value: int = 1, **fields: Any) -> Transaction:
    values = {"gas": 21_000, "gas_price": 0, **fields}
    return sign_transaction(KEYS[key], chain_id=CHAIN_ID, nonce=nonce, to=to, value=value, **values)


def deployment(key: int, nonce: int, *arguments: str, **fields: Any) -> Transaction:
    """The creation of el_dapp.Provider."""
    source = resources.files("contracts_py").joinpath("el_dapp.py").read_bytes()
    data = decode_data(build_artifact(source)["bytecode"])
    data += abi.encode(["string", "string"], list(arguments) or ["Grid", "Street"])
    values = {"gas": 10_000_000, "gas_price": 0, **fields}
    return sign_transaction(KEYS[key], chain_id=CHAIN_ID, nonce=nonce, to=None, data=data, **values)


def call(
    key: int, nonce: int, to: bytes, signature: str, *arguments: Any, **fields: Any
) -> Transaction:
    types = signature[signature.index("(") + 1 : -1]
    data = abi.selector(signature) + abi.encode(types.split(",") if types else [], list(arguments))
    values = {"gas": 300_000, "gas_price": 0, **fields}
    return sign_transaction(KEYS[key], chain_id=CHAIN_ID, nonce=nonce, to=to, data=data, **values)


PROVIDER = contract_address(ACCOUNTS[0], 0)
"""Where account 0's first transaction puts a contract."""
