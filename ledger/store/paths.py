"""Paths of trie nodes as keys of rows: what lies below a path are neighbours in the file."""

_DIGITS = bytes.maketrans(bytes(range(16)), b"0123456789abcdef")


def pack_path(path: bytes) -> bytes:
    """A path, one nibble a byte, as two nibbles a byte and a last nibble 8 (then 0) that ends it.

    What lies below a path sorts around it, so a subtree's rows are neighbours in the file.
    """
    digits = path.translate(_DIGITS).decode()
    return bytes.fromhex(digits + ("8" if len(path) % 2 else "80"))


def unpack_path(packed: bytes) -> bytes:
    """The path that `pack_path` packed."""
    digits = packed.hex()
    return bytes(int(digit, 16) for digit in digits[: -1 if digits[-1] == "8" else -2])
