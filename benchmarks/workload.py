"""The transactions that are measured: setDebt of the published contract, record of a meter."""

from importlib import resources

from ledger.contract.artifact import build_artifact
from ledger.crypto.address import address_of
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_data
from ledger.transaction import Transaction, sign_transaction

CHAIN_ID = 1947
GAS = 200_000
RECORD_GAS = 400_000


def make_keys(count: int, name: str = "bench") -> list[bytes]:
    return [keccak256(f"{name}/{index}".encode()) for index in range(count)]


def creation_data(contract: str, types: list[str], *arguments: object) -> bytes:
    """The data of a transaction that deploys one of the standard contracts."""
    source = resources.files("contracts_py").joinpath(f"{contract}.py").read_bytes()
    return decode_data(build_artifact(source)["bytecode"]) + abi.encode(types, arguments)


def sign_call(
    key: bytes, nonce: int, to: bytes | None, data: bytes, gas: int, price: int = 0
) -> Transaction:
    return sign_transaction(
        key, chain_id=CHAIN_ID, nonce=nonce, to=to, data=data, gas=gas, gas_price=price
    )


def encode_call(signature: str, *arguments: object) -> bytes:
    types = signature[signature.index("(") + 1 : -1].split(",")
    return abi.selector(signature) + abi.encode(types, arguments)


def set_debt_transactions(
    keys: list[bytes], contract: bytes, count: int, price: int = 0, first: int = 0
) -> list[Transaction]:
    """Each account in turn sets its own debt; the sender must be an active user. `first` of them
    were made before."""
    signature = "setDebt(uint256,uint256,address)"
    return [
        sign_call(
            keys[index % len(keys)], index // len(keys), contract,
            encode_call(signature, 1_000 + index, 296 * index, address_of(keys[index % len(keys)])),
            GAS, price,
        )
        for index in range(first, first + count)
    ]  # fmt: skip


def record_transactions(
    keys: list[bytes], contract: bytes, count: int, first_period: int, first_nonce: int = 0
) -> list[Transaction]:
    """Each meter in turn records the next period."""
    signature = "record(uint32,uint64,uint64,uint8)"
    return [
        sign_call(
            keys[index % len(keys)], first_nonce + index // len(keys), contract,
            encode_call(signature, first_period + index // len(keys), 100 + index % 900, 0, 1),
            RECORD_GAS,
        )
        for index in range(count)
    ]  # fmt: skip
