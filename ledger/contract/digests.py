"""What a contract hashes and recovers as wallets do: EIP-712, packed encodings, ecrecover.

What belongs here: bytes in, bytes out; each function is given `charge` and takes gas before it
works. The doors that contracts reach them by are `host`. Sources: EIP-712; Yellow Paper appendix
E.1; Solidity, "Non-standard Packed Mode".
"""

from collections.abc import Sequence
from typing import Any

from ledger.contract.gas import GAS_COUNT_ITEM, GAS_ECRECOVER, GAS_HASH, GAS_HASH_STRUCT, price_hash
from ledger.contract.handles import make_key_encoder
from ledger.contract.layout import WORD_BYTES, get_value_size, name_value_type
from ledger.contract.model import external_name
from ledger.contract.types import (
    BoolType,
    BytesType,
    EnumType,
    FixedBytesType,
    FixedListType,
    IntType,
    ListType,
    StringType,
    StructType,
    ValueType,
)
from ledger.contract.values import Charge
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import SIGNATURE_BYTES, recover_address_compact
from ledger.errors import CryptoError

_DOMAIN_TYPE = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)


def hash_bytes(data: bytes, charge: Charge) -> bytes:
    charge(price_hash(len(data)))
    return keccak256(data)


def recover_signer(digest: bytes, signature: bytes, charge: Charge) -> bytes:
    """Who signed; the zero address where nobody did, or with the high one of two values of s.

    `signature` is r, s and v, which may be 0, 1, 27 or 28.
    """
    charge(GAS_ECRECOVER)
    if len(signature) != SIGNATURE_BYTES or signature[-1] not in (0, 1, 27, 28):
        return bytes(20)
    try:
        return recover_address_compact(digest, signature[:-1] + bytes([signature[-1] % 27]))
    except CryptoError:
        return bytes(20)


def hash_domain(name: str, version: str, chain_id: int, contract: bytes, charge: Charge) -> bytes:
    """The domain separator of a contract (EIP-712)."""
    charge(GAS_HASH)  # to encode two texts and put five words together: 2 us
    parts = [hash_bytes(text.encode("utf-8"), charge) for text in (name, version)]
    number = chain_id.to_bytes(WORD_BYTES, "big")
    encoded = _DOMAIN_TYPE + b"".join(parts) + number + contract.rjust(WORD_BYTES, b"\0")
    return hash_bytes(encoded, charge)


def hash_typed(domain: bytes, struct_hash: bytes, charge: Charge) -> bytes:
    """What a wallet signs of typed data (EIP-712)."""
    return hash_bytes(b"\x19\x01" + domain + struct_hash, charge)


def hash_struct(type: StructType, value: Sequence[Any], charge: Charge) -> bytes:
    """hashStruct of EIP-712: the type's own hash, then every member in one word."""
    charge(GAS_HASH_STRUCT + GAS_COUNT_ITEM * (type.nodes - 1))  # its type is spelled with all
    words = [hash_bytes(spell_struct_type(type).encode("ascii"), charge)]
    for (_, member), each in zip(type.fields, value, strict=True):
        words.append(_hash_member(member, each, charge))
    return hash_bytes(b"".join(words), charge)


def _hash_member(type: ValueType, value: Any, charge: Charge) -> bytes:
    match type:
        case StructType():
            return hash_struct(type, value, charge)
        case StringType():
            return hash_bytes(value.encode("utf-8"), charge)
        case BytesType():
            return hash_bytes(value, charge)
        case ListType() | FixedListType():
            charge(GAS_COUNT_ITEM * len(value))
            words = [_hash_member(type.element, each, charge) for each in value]
            return hash_bytes(b"".join(words), charge)
    return make_key_encoder(type)(value)


def spell_struct_type(type: StructType) -> str:
    """encodeType of EIP-712: the struct, then those it refers to, sorted by name."""
    named: dict[str, StructType] = {}
    _collect_structs(type, named)
    del named[type.name]
    return "".join([_spell_members(each) for each in (type, *[named[n] for n in sorted(named)])])


def _collect_structs(type: ValueType, named: dict[str, StructType]) -> None:
    if isinstance(type, ListType | FixedListType):
        _collect_structs(type.element, named)
    elif isinstance(type, StructType):
        named[type.name] = type
        for _, member in type.fields:
            _collect_structs(member, named)


def _spell_members(type: StructType) -> str:
    members = [f"{_spell_type(member)} {external_name(name)}" for name, member in type.fields]
    return f"{type.name}({','.join(members)})"


def _spell_type(type: ValueType) -> str:
    match type:
        case StructType():
            return type.name
        case StringType():
            return "string"
        case BytesType():
            return "bytes"
        case ListType():
            return f"{_spell_type(type.element)}[]"
        case FixedListType():
            return f"{_spell_type(type.element)}[{type.size}]"
    return name_value_type(type)


def encode_packed(types: Sequence[ValueType], values: Sequence[Any], charge: Charge) -> bytes:
    """abi.encodePacked: values without padding; the items of lists padded to words."""
    parts = []
    for type, value in zip(types, values, strict=True):
        if isinstance(type, ListType | FixedListType):
            charge(GAS_COUNT_ITEM * len(value))
            encode = make_key_encoder(type.element)
            parts.append(b"".join([encode(each) for each in value]))
        else:
            parts.append(_pack(type, value))
    return b"".join(parts)


def _pack(type: ValueType, value: Any) -> bytes:
    encoded = make_key_encoder(type)(value)
    size = get_value_size(type)
    if size is None or isinstance(type, FixedBytesType):
        return encoded[:size]
    if isinstance(type, IntType | BoolType | EnumType):
        return encoded[WORD_BYTES - size :]
    return bytes(value)
