"""Small parsers of JSON-RPC parameters: a JSON value in, what a method works with out.

Each raises ParameterError, or an error of the ledger, with the reason; `read_parameters` puts the
parameter's position and name before it, as geth does. Not here: what methods do with the values.
Sources: Ethereum execution-apis (base types, block tags, filters), EIP-1898.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from ledger.crypto.address import parse_address
from ledger.encoding.hexadecimal import decode_data, decode_quantity
from ledger.errors import LedgerError
from ledger.types import Address, Hash32, Height
from node.rpc.codec import JsonValue
from node.rpc.errors import invalid_params

DATA_BYTES_MAX = 131_072
"""Of any data parameter: as long as a transaction may be."""
ADDRESSES_MAX = 1_000
"""Of one filter; geth's bound."""
TOPICS_MAX = 4
TOPIC_CHOICES_MAX = 1_000
"""For one position of a filter; geth's bound."""
SLOTS_MAX = 1_024
"""Of one proof or access list; each slot proved is some ten nodes to read."""
HEIGHT_MAX = 2**63 - 1
TIME_MAX = 2**63 - 1
BALANCE_MAX = 2**240
"""Of an account in one eth_call: all of them together, and a chain's own coin, stay below 2**256,
past which adding coin is a fault of the machine that runs it."""
NONCE_MAX = 2**64 - 2  # EIP-2681
BLOCK_FIELDS_UNSEEN = (
    "difficulty", "gasLimit", "feeRecipient", "prevRandao", "baseFeePerGas", "blobBaseFee",
)  # fmt: skip
OVERRIDES_MAX = 100
"""Accounts that one call changes for itself."""

REQUIRED: Final = object()

T = TypeVar("T")


class ParameterError(ValueError):
    """Why a value is not what a parameter takes."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One position of a method's parameters; null or nothing gives `default` unless REQUIRED."""

    name: str
    parse: Callable[[JsonValue], object]
    default: object = REQUIRED


@dataclass(frozen=True, slots=True)
class BlockTag:
    """A block by name, height or hash; exactly one is set."""

    name: str | None = None
    height: Height | None = None
    block_hash: Hash32 | None = None


LATEST = BlockTag(name="latest")
TAG_NAMES = ("latest", "pending", "safe", "finalized", "earliest")

Topics: TypeAlias = tuple[tuple[bytes, ...], ...]
"""Per position the topics of which one must stand there; an empty choice takes anything."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What eth_getLogs asks for: a block by hash, or the range from..to, ends included."""

    from_block: BlockTag | None = None
    to_block: BlockTag | None = None
    block_hash: Hash32 | None = None
    addresses: tuple[Address, ...] = ()
    topics: Topics = ()


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A transaction not yet signed, as eth_call, eth_estimateGas and eth_sendTransaction take it.

    Integers are in wei and gas, None where the caller gave none.
    """

    sender: Address | None = None
    to: Address | None = None
    gas: int | None = None
    gas_price: int | None = None
    max_fee: int | None = None
    max_priority_fee: int | None = None
    value: int = 0
    data: bytes = b""
    nonce: int | None = None
    access_list: tuple[tuple[Address, tuple[bytes, ...]], ...] = ()
    chain_id: int | None = None


@dataclass(frozen=True, slots=True)
class AccountOverride:
    """What an account has for one eth_call; `slots` are (slot, value), None leaves it as it is."""

    address: Address
    balance: int | None = None
    nonce: int | None = None
    slots: tuple[tuple[bytes, int], ...] = ()


@dataclass(frozen=True, slots=True)
class BlockOverride:
    """What the block of one eth_call has; None leaves it as it is. Time in Unix seconds."""

    number: int | None = None
    time: int | None = None


def read_parameters(expected: Sequence[Parameter], given: list[JsonValue]) -> list[object]:
    """The values of a call, in order. Raises RpcError (-32602) naming the parameter."""
    if len(given) > len(expected):
        raise invalid_params(f"too many arguments, want at most {len(expected)}")
    values: list[object] = []
    for index, parameter in enumerate(expected):
        value = given[index] if index < len(given) else None
        if value is None:
            if parameter.default is REQUIRED:
                raise invalid_params(
                    f"missing value for required argument {index} ({parameter.name})"
                )
            values.append(parameter.default)
            continue
        try:
            values.append(parameter.parse(value))
        except (ParameterError, LedgerError) as error:
            raise invalid_params(f"invalid argument {index} ({parameter.name}): {error}") from error
    return values


# Scalars.


def parse_text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise ParameterError(f"expected a string, got {_kind(value)}")
    return value


def parse_bool(value: JsonValue) -> bool:
    if not isinstance(value, bool):
        raise ParameterError(f"expected true or false, got {_kind(value)}")
    return value


def parse_account(value: JsonValue) -> Address:
    return parse_address(parse_text(value))


def parse_hash(value: JsonValue) -> Hash32:
    return decode_data(parse_text(value), 32)


def parse_data(value: JsonValue) -> bytes:
    return decode_data(parse_text(value), size_max=DATA_BYTES_MAX)


def parse_quantity(value: JsonValue) -> int:
    return decode_quantity(parse_text(value))


def parse_count(value: JsonValue) -> int:
    """A small number; geth takes these in decimal too, as web3 sends them for fee history."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return parse_quantity(value)


def parse_slot(value: JsonValue) -> bytes:
    """A storage slot: a quantity, or up to 32 bytes in hex with leading zeros."""
    text = parse_text(value)
    digits = text[2:]
    if len(digits) % 2:
        text = "0x0" + digits if text[:2] in ("0x", "0X") else text
    return decode_data(text, size_max=32).rjust(32, b"\0")


def parse_slots(value: JsonValue) -> tuple[bytes, ...]:
    return tuple(parse_slot(item) for item in _list(value, SLOTS_MAX, "slots"))


def parse_percentiles(value: JsonValue) -> tuple[float, ...]:
    """Rising numbers from 0 to 100, at most 100 of them."""
    numbers = []
    for item in _list(value, 100, "percentiles"):
        if isinstance(item, bool) or not isinstance(item, int | float) or not 0 <= item <= 100:
            raise ParameterError("a percentile is a number from 0 to 100")
        numbers.append(float(item))
    if numbers != sorted(numbers):
        raise ParameterError("percentiles must rise")
    return tuple(numbers)


def parse_block(value: JsonValue) -> BlockTag:
    """A tag, a height, or an object with blockNumber or blockHash (EIP-1898)."""
    if isinstance(value, dict):
        if set(value) - {"blockNumber", "blockHash", "requireCanonical"}:
            raise ParameterError("expected blockNumber or blockHash")
        block_hash, number = value.get("blockHash"), value.get("blockNumber")
        if (block_hash is None) == (number is None):
            raise ParameterError("cannot specify both or neither of blockHash and blockNumber")
        if block_hash is not None:
            return BlockTag(block_hash=parse_hash(block_hash))
        return parse_block(number)
    text = parse_text(value)
    if text in TAG_NAMES:
        return BlockTag(name=text)
    height = decode_quantity(text)
    if height > HEIGHT_MAX:
        raise ParameterError(f"block number is at most {HEIGHT_MAX}")
    return BlockTag(height=height)


# Objects.


def parse_call(value: JsonValue) -> CallRequest:
    """A transaction object; `input` and `data` are the same thing, either may be given."""
    fields = _object(value)
    data, input_ = fields.get("data"), fields.get("input")
    if data is not None and input_ is not None and data != input_:
        raise ParameterError('both "data" and "input" are set and differ: use "input"')
    payload = input_ if input_ is not None else data
    to = fields.get("to")
    return CallRequest(
        sender=_optional(fields, "from", parse_account),
        to=None if to in ("", "0x") else _optional(fields, "to", parse_account),
        gas=_optional(fields, "gas", parse_count),
        gas_price=_optional(fields, "gasPrice", parse_quantity),
        max_fee=_optional(fields, "maxFeePerGas", parse_quantity),
        max_priority_fee=_optional(fields, "maxPriorityFeePerGas", parse_quantity),
        value=_optional(fields, "value", parse_quantity) or 0,
        data=b"" if payload is None else _field("input", parse_data, payload),
        nonce=_optional(fields, "nonce", parse_quantity),
        access_list=_optional(fields, "accessList", parse_access_list) or (),
        chain_id=_optional(fields, "chainId", parse_quantity),
    )


def parse_access_list(value: JsonValue) -> tuple[tuple[Address, tuple[bytes, ...]], ...]:
    entries = []
    for item in _list(value, SLOTS_MAX, "entries"):
        fields = _object(item)
        entries.append(
            (parse_account(fields.get("address")), parse_slots(fields.get("storageKeys") or []))
        )
    return tuple(entries)


def parse_account_overrides(value: JsonValue) -> tuple[AccountOverride, ...]:
    """geth's state overrides, but for `code` and `state`: a contract is tried in the kit."""
    fields = _object(value)
    if len(fields) > OVERRIDES_MAX:
        raise ParameterError(f"{len(fields)} accounts, at most {OVERRIDES_MAX} are allowed")
    return tuple(_field(key, _parse_account_override(key), item) for key, item in fields.items())


def _parse_account_override(account: str) -> Callable[[JsonValue], AccountOverride]:
    def parse(value: JsonValue) -> AccountOverride:
        fields = _object(value)
        _refuse_others(fields, "balance", "nonce", "stateDiff")
        slots = _object(fields.get("stateDiff") or {})
        if len(slots) > SLOTS_MAX:
            raise ParameterError(f"{len(slots)} slots, at most {SLOTS_MAX} are allowed")
        return AccountOverride(
            address=parse_account(account),
            balance=_optional(fields, "balance", _up_to(BALANCE_MAX, "balance")),
            nonce=_optional(fields, "nonce", _up_to(NONCE_MAX, "nonce")),
            slots=tuple(
                (parse_slot(slot), int.from_bytes(parse_hash(word))) for slot, word in slots.items()
            ),
        )

    return parse


def _up_to(most: int, what: str) -> Callable[[JsonValue], int]:
    def parse(value: JsonValue) -> int:
        number = parse_quantity(value)
        if number > most:
            raise ParameterError(f"{what} is at most {most:#x} here")
        return number

    return parse


def parse_block_override(value: JsonValue) -> BlockOverride:
    """geth's block overrides; number and time are all that contracts here see of a block."""
    fields = _object(value)
    _refuse_others(fields, "number", "time", *BLOCK_FIELDS_UNSEEN)
    override = BlockOverride(
        number=_optional(fields, "number", parse_quantity),
        time=_optional(fields, "time", parse_quantity),
    )
    if (override.number or 0) > HEIGHT_MAX or (override.time or 0) > TIME_MAX:
        raise ParameterError("number and time are at most 2**63 - 1")
    return override


def _refuse_others(fields: dict[str, JsonValue], *known: str) -> None:
    others = sorted(key for key in fields if key not in known and fields[key] is not None)
    if others:
        raise ParameterError(f"{others[0]!r} cannot be overridden here; {', '.join(known)} can")


def parse_filter(value: JsonValue) -> LogFilter:
    """A log filter, its lists bounded."""
    fields = _object(value)
    block_hash = _optional(fields, "blockHash", parse_hash)
    from_block = _optional(fields, "fromBlock", parse_block)
    to_block = _optional(fields, "toBlock", parse_block)
    if block_hash is not None and (from_block is not None or to_block is not None):
        raise ParameterError("cannot specify both blockHash and fromBlock/toBlock, choose one")
    return LogFilter(
        from_block=from_block,
        to_block=to_block,
        block_hash=block_hash,
        addresses=_field("address", _parse_addresses, fields.get("address")),
        topics=_field("topics", _parse_topics, fields.get("topics")),
    )


def _parse_addresses(value: JsonValue) -> tuple[Address, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (parse_account(value),)
    return tuple(parse_account(item) for item in _list(value, ADDRESSES_MAX, "addresses"))


def _parse_topics(value: JsonValue) -> Topics:
    if value is None:
        return ()
    positions: list[tuple[bytes, ...]] = []
    for item in _list(value, TOPICS_MAX, "topics"):
        if item is None:
            positions.append(())
        elif isinstance(item, list):
            choices = _list(item, TOPIC_CHOICES_MAX, "choices of a topic")
            # A null among the choices takes anything, as in geth.
            positions.append(
                () if None in choices else tuple(parse_hash(choice) for choice in choices)
            )
        else:
            positions.append((parse_hash(item),))
    return tuple(positions)


def _object(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise ParameterError(f"expected an object, got {_kind(value)}")
    return value


def _list(value: JsonValue, count_max: int, what: str) -> list[JsonValue]:
    if not isinstance(value, list):
        raise ParameterError(f"expected an array, got {_kind(value)}")
    if len(value) > count_max:
        raise ParameterError(f"{len(value)} {what}, at most {count_max} are allowed")
    return value


def _optional(fields: dict[str, JsonValue], key: str, parse: Callable[[JsonValue], T]) -> T | None:
    value = fields.get(key)
    return None if value is None else _field(key, parse, value)


def _field(key: str, parse: Callable[[JsonValue], T], value: JsonValue) -> T:
    try:
        return parse(value)
    except (ParameterError, LedgerError) as error:
        raise ParameterError(f"{key}: {error}") from error


def _kind(value: JsonValue) -> str:
    """The JSON name of a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"
