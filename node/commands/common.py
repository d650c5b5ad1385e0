"""What several commands share: options, tables, keys, and sending a transaction."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.table import Table

from ledger.crypto.address import address_of, parse_address, to_checksum
from ledger.crypto.keystore import decrypt_key
from ledger.encoding.hexadecimal import decode_quantity, encode_data, encode_quantity
from ledger.errors import LedgerError
from ledger.transaction import sign_transaction
from ledger.work import SETTLED_BLOCKS
from node.client import Client, ClientError
from node.errors import NodeError

DEFAULT_RPC = "http://127.0.0.1:8545"
KEY_FILE_BYTES_MAX = 100_000  # a Web3 key file has 500; whatever is far above is none

PIPE_COLUMNS = 120
"""Where nobody has said how wide: a table's addresses and URLs stay whole for grep."""

console = Console(
    emoji=False,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS,
)
F = TypeVar("F", bound=Callable[..., Any])


def check_url(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """A node's URL; the whole of it is looked at before anything is done."""
    try:
        parts = urlsplit(value)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return value
    except ValueError:
        pass  # the port is none: said below
    raise click.BadParameter(f"{value!r} is no URL of a node: expected http://HOST:PORT")


def rpc_option(function: F) -> F:
    return click.option(
        "--rpc", default=DEFAULT_RPC, show_default=True, envvar="WATTLEDGER_RPC", metavar="URL",
        callback=check_url, help="The node to ask.",
    )(function)  # fmt: skip


def connect(rpc: str) -> Client:
    """A connection to a node that is closed when the command ends."""
    client = Client(rpc)
    click.get_current_context().call_on_close(client.close)
    return client


def check_month(ctx: click.Context, param: click.Parameter, value: str) -> str:
    from node.billing.month import parse_month  # few commands need it and what it brings

    try:
        parse_month(value)
    except NodeError as error:
        raise click.BadParameter(str(error)) from error
    return value


def month_option(function: F) -> F:
    return click.option(
        "--month", required=True, metavar="YYYY-MM", callback=check_month, help="Which month."
    )(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(
        function
    )


def keystore_option(function: F) -> F:
    return click.option(
        "--keystore", type=click.Path(file_okay=False, path_type=Path),
        default=lambda: Path.home() / ".wattledger" / "keystore", envvar="WATTLEDGER_KEYSTORE",
        help="Folder of key files.  [default: ~/.wattledger/keystore]",
    )(function)  # fmt: skip


def password_option(function: F) -> F:
    return click.option(
        "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with the password in its first line; asked for without it.",
    )(function)  # fmt: skip


class AddressType(click.ParamType[bytes]):
    """An account's address, with its checksum where it is in mixed case."""

    name = "ADDRESS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            return parse_address(value)
        except LedgerError as error:
            self.fail(str(error), param, ctx)


ADDRESS = AddressType()


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def say(text: str, *, soft_wrap: bool = True) -> None:
    """Text as it is, whatever a path or somebody on chain has written into it."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=soft_wrap)


def printable(text: str) -> str:
    """Without characters that would command a terminal; they are shown as Python writes them."""
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)


def make_table(*columns: str, title: str | None = None) -> Table:
    """A table whose columns are right-aligned where their name starts with `>`."""
    table = Table(title=title, title_justify="left", min_width=len(title) if title else None)
    for index, column in enumerate(columns):
        right = column.startswith(">")
        # The first column names the row, and an address broken in two is none. What does not fit
        # elsewhere goes on in the next line: a hash or a path that is cut off is of no use.
        table.add_column(
            column.lstrip(">"),
            justify="right" if right else "left",
            no_wrap=index == 0 or column == "address",
            overflow="fold",
        )
    return table


def read_text(path: Path, expected: str) -> str:
    """A small text file that the user named. Raises NodeError that says what was expected in it."""
    try:
        with path.open("rb") as file:
            raw = file.read(KEY_FILE_BYTES_MAX + 1)
        if len(raw) <= KEY_FILE_BYTES_MAX:
            return raw.decode()
    except UnicodeDecodeError:
        pass  # said below
    raise NodeError(f"{path}: expected {expected}")


def read_keystore(path: Path) -> dict[str, Any]:
    """The JSON object of a Web3 key file. Raises NodeError."""
    try:
        document = json.loads(read_text(path, "a Web3 key file"))
    except ValueError as error:
        raise NodeError(f"{path}: expected a Web3 key file; not JSON: {error}") from error
    if not isinstance(document, dict):
        raise NodeError(f"{path}: expected a Web3 key file, a JSON object")
    return document


def read_password(password_file: Path | None, *, confirm: bool = False) -> str:
    """The password, from a file's first line or typed."""
    if password_file is not None:
        lines = read_text(password_file, "a password in its first line").splitlines()
        return lines[0] if lines else ""
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=confirm))


def key_files(keystore: Path) -> dict[bytes, Path]:
    """Address -> key file, for every Web3 key file in the folder."""
    found: dict[bytes, Path] = {}
    for path in sorted(keystore.glob("*")) if keystore.is_dir() else []:
        if not path.is_file() or path.stat().st_size > KEY_FILE_BYTES_MAX:
            continue
        try:
            address = json.loads(path.read_text()).get("address", "")
            found[parse_address("0x" + address.removeprefix("0x"))] = path
        except (ValueError, AttributeError, LedgerError):
            continue  # a folder of keys may hold other files
    return found


def load_key(keystore: Path, address: bytes, password_file: Path | None) -> bytes:
    """The private key of an account that has a key file here."""
    path = key_files(keystore).get(address)
    if path is None:
        raise NodeError(
            f"no key file for {to_checksum(address)} in {keystore}; "
            "see: wattledger account list, wattledger account import"
        )
    return decrypt_key(read_keystore(path), read_password(password_file))


def save_key(keystore: Path, private_key: bytes, document: dict[str, Any]) -> Path:
    """Write a new key file that only its owner can read; an account's file is never replaced."""
    keystore.mkdir(parents=True, exist_ok=True, mode=0o700)
    address = address_of(private_key)
    if address in key_files(keystore):
        raise NodeError(f"{to_checksum(address)} already has a key file in {keystore}")
    path = keystore / f"{to_checksum(address)}.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    return path


def send_transaction(
    client: Client,
    sender: bytes,
    keystore: Path,
    password_file: Path | None,
    *,
    to: bytes | None,
    data: bytes = b"",
    value: int = 0,
    private_key: bytes | None = None,
) -> dict[str, Any]:
    """Sign with `private_key` or a key file, or let a devnet's unlocked account send; wait for the
    receipt."""
    request: dict[str, Any] = {
        "from": encode_data(sender),
        "data": encode_data(data),
        "value": encode_quantity(value),
    }
    if to is not None:
        request["to"] = encode_data(to)
    gas = decode_quantity(client.call("eth_estimateGas", request))
    if private_key is not None or sender in key_files(keystore):
        transaction = sign_transaction(
            private_key or load_key(keystore, sender, password_file),
            chain_id=client.chain_id(),
            nonce=client.next_nonce(sender),
            to=to,
            data=data,
            value=value,
            gas=gas,
            gas_price=decode_quantity(client.call("eth_gasPrice")),
        )
        sent = client.call("eth_sendRawTransaction", encode_data(transaction.raw))
    elif encode_data(sender) in [one.lower() for one in client.call("eth_accounts")]:
        sent = client.call("eth_sendTransaction", {**request, "gas": encode_quantity(gas)})
    else:
        raise ClientError(
            f"{to_checksum(sender)} has no key file in {keystore} and is not unlocked at "
            f"{client.url}; see: wattledger account import"
        )
    receipt = client.wait_for_receipt(
        sent, on_slow=lambda: click.echo(f"sent {sent}; waiting for its block ...", err=True)
    )
    for line in explain_mined(client, decode_quantity(receipt["blockNumber"])):
        click.echo(line, err=True)
    return receipt


def explain_mined(client: Client, height: int) -> list[str]:
    """What a transaction's block is worth where blocks are mined; nothing where it is final."""
    calls = [("eth_getBlockByNumber", ("finalized", False)), ("eth_blockNumber", ())]
    final, head = client.batch(calls)
    if decode_quantity(final["number"]) >= height:
        return []
    return [
        f"block {height} is mined, not final: a longer branch of other miners may take it away "
        "again; the transaction then waits and comes into another block.",
        f"It counts as settled with {SETTLED_BLOCKS} blocks (confirmations) on top of its own, "
        f"{max(0, decode_quantity(head) - height)} by now: who mines against all others with a "
        "tenth of their rate undoes that once in 11 million times.",
    ]
