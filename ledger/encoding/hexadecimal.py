"""Hex as Ethereum's JSON-RPC writes it: quantities without leading zeros, data in whole bytes.

Source: Ethereum execution-apis, "hex value encoding". Texts of errors are those of geth.
"""

from ledger.errors import EncodingError, MessageTooLarge

QUANTITY_DIGITS_MAX = 64
"""A quantity is at most 2**256 - 1."""

_DIGITS = frozenset("0123456789abcdefABCDEF")


def encode_quantity(number: int) -> str:
    """A non-negative integer as 0x and its shortest hex; zero is 0x0."""
    if number < 0:
        raise EncodingError(f"a quantity is not negative, got {number}")
    return hex(number)


def decode_quantity(text: str) -> int:
    """The integer of a canonical quantity of at most 256 bits. Raises EncodingError."""
    digits = _digits_of(text)
    if not digits:
        raise EncodingError('hex string "0x"')
    if len(digits) > 1 and digits[0] == "0":
        raise EncodingError("hex number with leading zero digits")
    if len(digits) > QUANTITY_DIGITS_MAX:
        raise EncodingError("hex number > 256 bits")
    if not _DIGITS.issuperset(digits):
        raise EncodingError("invalid hex string")
    return int(digits, 16)


def encode_data(data: bytes) -> str:
    """Bytes as 0x and two digits a byte."""
    return "0x" + data.hex()


def decode_data(text: str, size: int | None = None, size_max: int | None = None) -> bytes:
    """The bytes of 0x and an even number of digits; exactly `size` of them where it is given.

    Raises EncodingError, and MessageTooLarge above `size_max` before anything is decoded.
    """
    digits = _digits_of(text)
    if len(digits) % 2:
        raise EncodingError("hex string of odd length")
    if size_max is not None and len(digits) > 2 * size_max:
        raise MessageTooLarge("hex data", len(digits) // 2, size_max)
    if not _DIGITS.issuperset(digits):  # bytes.fromhex would take spaces
        raise EncodingError("invalid hex string")
    data = bytes.fromhex(digits)
    if size is not None and len(data) != size:
        raise EncodingError(f"hex string has length {len(digits)}, want {2 * size}")
    return data


def _digits_of(text: str) -> str:
    if not isinstance(text, str):
        raise EncodingError(f"expected a hex string, got {type(text).__name__}")
    if text[:2] not in ("0x", "0X"):
        raise EncodingError("hex string without 0x prefix" if text else "empty hex string")
    return text[2:]
