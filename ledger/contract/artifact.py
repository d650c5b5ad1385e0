"""What a deployment carries: `EF574C01`, the source's length as a uint32, the source, arguments.

The prefix begins with EF, which no EVM contract may (EIP-3541), then "WL" and the format, 1.
Clients append the ABI-encoded arguments to the artifact's bytecode, as they do for Solidity.
"""

from typing import Any

from ledger.contract.compile import compile_contract
from ledger.contract.interface import describe_abi
from ledger.errors import EncodingError

PAYLOAD_PREFIX = bytes.fromhex("EF574C01")
_SOURCE_AT = len(PAYLOAD_PREFIX) + 4


def encode_payload(source: bytes, arguments: bytes = b"") -> bytes:
    """The data of a creation transaction."""
    return PAYLOAD_PREFIX + len(source).to_bytes(4, "big") + source + arguments


def decode_payload(data: bytes) -> tuple[bytes, bytes]:
    """(source, ABI-encoded arguments) of a creation's data. Raises EncodingError."""
    if data[: len(PAYLOAD_PREFIX)] != PAYLOAD_PREFIX or len(data) < _SOURCE_AT:
        raise EncodingError(
            "a contract creation carries EF574C01, a length and Python source; "
            "make it with `wattledger contract build`"
        )
    end = _SOURCE_AT + int.from_bytes(data[len(PAYLOAD_PREFIX) : _SOURCE_AT], "big")
    if end > len(data):
        raise EncodingError(f"the creation announces {end} bytes, {len(data)} are there")
    return data[_SOURCE_AT:end], data[end:]


def build_artifact(source: bytes) -> dict[str, Any]:
    """{contractName, abi, bytecode} for web3.py's and ethers' deploy. Raises ContractRejected."""
    model = compile_contract(source).model
    return {
        "contractName": model.name,
        "abi": describe_abi(model),
        "bytecode": "0x" + encode_payload(source).hex(),
    }
