"""`wattledger account`: keys in Web3 key files, balances, transfers."""

import secrets
import uuid
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from ledger.crypto.address import address_of, to_checksum
from ledger.crypto.keystore import decrypt_key, encrypt_key
from ledger.encoding.hexadecimal import decode_data, decode_quantity, encode_data
from ledger.errors import EncodingError
from node.commands.common import (
    ADDRESS,
    connect,
    console,
    json_option,
    key_files,
    keystore_option,
    load_key,
    make_table,
    password_option,
    print_json,
    read_keystore,
    read_password,
    read_text,
    rpc_option,
    save_key,
    say,
    send_transaction,
)
from node.errors import NodeError
from node.wallet import derive_key, generate_mnemonic

DECIMALS = 18
WEI: int = 10**DECIMALS
DIGITS_MAX = 96  # 2**256 - 1 wei has 78
WORDS_MIN = 12  # of a BIP-39 mnemonic
IMPORTED = "a Web3 key file, 64 hex digits, or the words of a mnemonic"


@click.group()
def account() -> None:
    """Keys, balances and transfers."""


def new_keystore(private_key: bytes, password: str) -> dict[str, Any]:
    """A Web3 key file (version 3, scrypt) with fresh random bytes."""
    return encrypt_key(
        private_key,
        password,
        salt=secrets.token_bytes(32),
        iv=secrets.token_bytes(16),
        uuid=uuid.uuid4().bytes,
    )


@account.command()
@click.option("--mnemonic", "with_mnemonic", is_flag=True, help="Print twelve words as a backup.")
@keystore_option
@password_option
@json_option
def new(with_mnemonic: bool, keystore: Path, password_file: Path | None, as_json: bool) -> None:
    """Make a key and keep it in a password-protected file.

    \b
    Example:
      wattledger account new --mnemonic
    """
    words = generate_mnemonic(secrets.token_bytes(16)) if with_mnemonic else None
    private_key = derive_key(words) if words else new_private_key()
    path = save_key(
        keystore, private_key, new_keystore(private_key, read_password(password_file, confirm=True))
    )
    address = to_checksum(address_of(private_key))
    if as_json:
        print_json({"address": address, "file": str(path), "mnemonic": words})
        return
    show_key(private_key, path)
    if words:
        say(f"words    {words}\nWrite the words down; whoever has them has the account.")


def new_private_key() -> bytes:
    """A random key of the curve."""
    from ledger.crypto.secp256k1 import CURVE_ORDER

    return (secrets.randbelow(CURVE_ORDER - 1) + 1).to_bytes(32, "big")


@account.command("list")
@keystore_option
@json_option
def list_accounts(keystore: Path, as_json: bool) -> None:
    """List the accounts that have a key file here.

    \b
    Example:
      wattledger account list
    """
    found = key_files(keystore)
    if as_json:
        print_json([{"address": to_checksum(a), "file": str(p)} for a, p in found.items()])
        return
    if not found:
        say(f"no key files in {keystore}; make one with: wattledger account new")
        return
    table = make_table("account", "key file")
    for address, path in found.items():
        table.add_row(to_checksum(address), escape(str(path)))
    console.print(table)


@account.command("import")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--index", default=0, show_default=True, help="Which account of a mnemonic.")
@keystore_option
@password_option
def import_account(source: Path, index: int, keystore: Path, password_file: Path | None) -> None:
    """Take a key from SOURCE: a Web3 key file, a hex private key, or the words of a mnemonic.

    \b
    Example:
      wattledger account import key.txt
    """
    text = read_text(source, IMPORTED).strip()
    if text.startswith("{"):
        document = read_keystore(source)
        password = read_password(password_file)
        private_key = decrypt_key(document, password)
    else:
        private_key = read_bare_key(source, text, index)
        password = read_password(password_file, confirm=True)
    path = save_key(keystore, private_key, new_keystore(private_key, password))
    show_key(private_key, path)


def show_key(private_key: bytes, path: Path) -> None:
    address = to_checksum(address_of(private_key))
    say(f"account  {address}\nkey file {path}")


def read_bare_key(source: Path, text: str, index: int) -> bytes:
    """The private key in a text of 64 hex digits, or account `index` of a mnemonic's words."""
    if len(text.split()) >= WORDS_MIN:
        return derive_key(text, f"m/44'/60'/0'/0/{index}")
    try:
        return decode_data(text if text.startswith("0x") else "0x" + text, 32)
    except EncodingError as error:
        # Not what was found: it may be a key with a slip of the pen.
        raise NodeError(f"{source}: expected {IMPORTED}") from error


@account.command()
@click.argument("address", type=ADDRESS)
@click.option("--private-key", is_flag=True, help="Print the bare private key instead.")
@keystore_option
@password_option
def export(address: bytes, private_key: bool, keystore: Path, password_file: Path | None) -> None:
    """Print an account's key file, as MetaMask and geth read it.

    \b
    Example:
      wattledger account export 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 > key.json
    """
    if private_key:
        click.echo(encode_data(load_key(keystore, address, password_file)))
        return
    path = key_files(keystore).get(address)
    if path is None:
        raise NodeError(f"no key file for {to_checksum(address)} in {keystore}")
    click.echo(path.read_text())


@account.command()
@click.argument("address", type=ADDRESS)
@rpc_option
@json_option
def balance(address: bytes, rpc: str, as_json: bool) -> None:
    """Show an account's balance and how many transactions it has sent.

    \b
    Example:
      wattledger account balance 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266
    """
    client = connect(rpc)
    wei = decode_quantity(client.call("eth_getBalance", encode_data(address), "latest"))
    nonce = decode_quantity(client.call("eth_getTransactionCount", encode_data(address), "latest"))
    if as_json:
        print_json({"address": to_checksum(address), "wei": str(wei), "nonce": nonce})
        return
    say(f"{to_checksum(address)}: {format_wei(wei)} coins, {nonce} transactions sent")


@account.command()
@click.argument("sender", type=ADDRESS)
@click.argument("recipient", type=ADDRESS)
@click.argument("amount")
@keystore_option
@password_option
@rpc_option
def send(
    sender: bytes,
    recipient: bytes,
    amount: str,
    keystore: Path,
    password_file: Path | None,
    rpc: str,
) -> None:
    """Send AMOUNT native coins (1.5, or 10wei) and wait for the block they are in.

    \b
    Example:
      wattledger account send 0xf39F...2266 0x7099...79C8 1.5
    """
    receipt = send_transaction(
        connect(rpc), sender, keystore, password_file, to=recipient, value=parse_amount(amount)
    )
    block = decode_quantity(receipt["blockNumber"])
    say(f"sent in block {block}: {receipt['transactionHash']}")


def parse_amount(text: str) -> int:
    """Coins with up to 18 decimals, or whole wei with the ending `wei`; without floats."""
    whole, _, decimals = ("0", "", text[:-3]) if text.endswith("wei") else text.partition(".")
    digits = whole + decimals
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > DIGITS_MAX:
        raise NodeError(f"{text!r:.80} is no amount: expected 1.5 or 10wei")
    if text.endswith("wei"):
        return int(decimals)
    if len(decimals) > DECIMALS:
        raise NodeError(f"{text} is no amount: a coin has {DECIMALS} decimals")
    return int(whole or "0") * WEI + int(decimals.ljust(DECIMALS, "0"))


def format_wei(wei: int) -> str:
    whole, rest = divmod(wei, WEI)
    return f"{whole:,}" + (f".{rest:018d}".rstrip("0") if rest else "")
