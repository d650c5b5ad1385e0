"""A meter's own key, from a file: a Web3 keystore with its password file, or 64 hex digits.

The key never leaves this process; it is not in the outbox and in no log.
"""

import json
import logging
import re
import stat
from pathlib import Path

from ledger.crypto.address import address_of
from ledger.crypto.keystore import decrypt_key
from ledger.errors import LedgerError
from meter.errors import KeyFileError

KEY_FILE_BYTES_MAX = 65_536  # a keystore has under 1,000
_HEX_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


def load_key(file: Path, password_file: Path | None) -> bytes:
    """The private key in `file`. Raises KeyFileError."""
    text = _read(file).strip()
    if _HEX_KEY.fullmatch(text):
        key = bytes.fromhex(text.removeprefix("0x"))
    else:
        key = _load_keystore(file, text, password_file)
    try:
        address_of(key)
    except LedgerError as error:
        raise KeyFileError(file, str(error)) from error
    return key


def warn_if_readable_by_others(file: Path, log: logging.Logger) -> None:
    """A key that every user of the machine can read is said so once."""
    if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        log.warning("key file %s can be read by other users; run: chmod 600 %s", file, file)


def _load_keystore(file: Path, text: str, password_file: Path | None) -> bytes:
    try:
        keystore = json.loads(text)
    except ValueError as error:
        raise KeyFileError(file, "is neither a Web3 keystore nor 64 hex digits") from error
    if not isinstance(keystore, dict):
        raise KeyFileError(file, "is JSON, but no Web3 keystore")
    if password_file is None:
        raise KeyFileError(file, "is encrypted; name its password in `password_file`")
    password = _read(password_file).split("\n")[0].removesuffix("\r")
    try:
        return decrypt_key(keystore, password)
    except LedgerError as error:
        raise KeyFileError(file, str(error)) from error


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as handle:
            return handle.read(KEY_FILE_BYTES_MAX)
    except OSError as error:
        raise KeyFileError(file, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KeyFileError(file, "is not text") from error
