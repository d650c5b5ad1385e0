"""`wattledger channel`: pay by signed messages; two transactions, any number of payments."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ledger.crypto.address import to_checksum
from ledger.encoding import abi
from ledger.encoding.hexadecimal import decode_quantity, encode_data
from node.channels import (
    MARGIN_S,
    MESSAGE_BYTES_MAX,
    Till,
    check_payment,
    read_channel,
    read_payment,
    read_settled_channel,
    sign_payment,
)
from node.client import RpcError
from node.commands.accounts import format_wei, parse_amount
from node.commands.common import (
    ADDRESS,
    F,
    connect,
    json_option,
    keystore_option,
    load_key,
    make_table,
    password_option,
    print_json,
    rpc_option,
    say,
    send_transaction,
)
from node.commands.common import console as screen
from node.commands.contracts.calls import explained
from node.commands.contracts.sources import compile_artifact
from node.errors import NodeError

DAY_S = 86_400
OPENED = abi.topic("Opened(uint256,address,address,uint256,uint256)")


def contract_option(function: F) -> F:
    return click.option(
        "--contract", type=ADDRESS, required=True, envvar="WATTLEDGER_CHANNELS",
        help="The PaymentChannel contract.",
    )(function)  # fmt: skip


def sender_options(function: F) -> F:
    """Who sends, and what signing and asking need."""
    sender = click.option("--from", "sender", type=ADDRESS, required=True, help="Who sends.")
    return sender(keystore_option(password_option(contract_option(rpc_option(function)))))


def till_option(function: F) -> F:
    return click.option(
        "--till", type=click.Path(dir_okay=False, path_type=Path), default=Path("till.json"),
        show_default=True, help="File that keeps the newest accepted message of each channel.",
    )(function)  # fmt: skip


@click.group()
def channel() -> None:
    """Pay by signed messages over a channel: two transactions, any number of payments.

    \b
    The contract: wattledger contract deploy payment_channel --from ACCOUNT
    The payer:    channel open, then channel pay as often as wanted
    The payee:    channel accept each message, channel close at the end
    """


def _send(
    signature: str,
    values: list[Any],
    options: dict[str, Any],
    *,
    value: int = 0,
) -> dict[str, Any]:
    """A call of the contract as a transaction; its receipt. Raises NodeError in its words."""
    name, _, types = signature.partition("(")
    data = abi.selector(signature) + abi.encode(types.rstrip(")").split(","), values)
    try:
        receipt = send_transaction(
            connect(options["rpc"]), options["sender"], options["keystore"],
            options["password_file"], to=options["contract"], data=data, value=value,
        )  # fmt: skip
    except RpcError as error:
        raise explained(compile_artifact("payment_channel")["abi"], error) from error
    if decode_quantity(receipt["status"]) != 1:
        raise NodeError(f"{name} reverted in {receipt['transactionHash']}")
    return receipt


@channel.command("open")
@click.argument("recipient", type=ADDRESS)
@click.argument("amount")
@click.option("--days", type=click.IntRange(1, 3_650), default=30, show_default=True,
              help="The rest cannot be taken back before.")  # fmt: skip
@sender_options
@json_option
def open_(recipient: bytes, amount: str, days: int, as_json: bool, **options: Any) -> None:
    """Lock AMOUNT coins (1.5, or 10wei) for RECIPIENT.

    \b
    Example:
      wattledger channel open 0x7099...79C8 1.5 --from 0xf39F...2266 --contract 0x5FbD...0aa3
    """
    head = connect(options["rpc"]).call("eth_getBlockByNumber", "latest", False)
    until = max(int(time.time()), decode_quantity(head["timestamp"])) + days * DAY_S
    receipt = _send("open(address,uint256)", [recipient, until], options,
                    value=parse_amount(amount))  # fmt: skip
    topics = [log["topics"] for log in receipt["logs"]]
    number = next(int(one[1], 16) for one in topics if one[0] == encode_data(OPENED))
    if as_json:
        print_json({"channelId": number, "validUntil": until})
        return
    say(f"channel {number} is open for {to_checksum(recipient)} until {_time(until)}")


@channel.command()
@click.argument("number", type=click.IntRange(1))
@contract_option
@rpc_option
@json_option
def show(number: int, contract: bytes, rpc: str, as_json: bool) -> None:
    """Show what the chain says of channel NUMBER.

    \b
    Example:
      wattledger channel show 1 --contract 0x5FbD...0aa3
    """
    found = read_channel(connect(rpc), contract, number)
    if as_json:
        print_json({
            "payer": to_checksum(found.payer), "recipient": to_checksum(found.recipient),
            "balance": str(found.balance), "validUntil": found.valid_until,
        })  # fmt: skip
        return
    table = make_table("what", "is")
    table.add_row("payer", to_checksum(found.payer))
    table.add_row("recipient", to_checksum(found.recipient))
    table.add_row("holds", f"{format_wei(found.balance)} coins")
    table.add_row("valid until", _time(found.valid_until))
    screen.print(table)


@channel.command()
@click.argument("number", type=click.IntRange(1))
@click.argument("total")
@sender_options
def pay(
    number: int, total: str, sender: bytes, keystore: Path, password_file: Path | None,
    contract: bytes, rpc: str,
) -> None:  # fmt: skip
    """Sign a message: the recipient may take TOTAL coins of channel NUMBER, in all.

    The message goes to standard output; whoever has it can do nothing but hand it on.

    \b
    Example:
      wattledger channel pay 1 0.25 --from 0xf39F...2266 --contract 0x5FbD...0aa3 > message.json
    """
    client = connect(rpc)
    found = read_channel(client, contract, number)
    amount = parse_amount(total)
    if found.payer != sender:
        raise NodeError(f"channel {number} is paid by {to_checksum(found.payer)}, see --from")
    if amount > found.balance:
        raise NodeError(
            f"channel {number} holds {format_wei(found.balance)} coins: wattledger channel top-up"
        )
    key = load_key(keystore, sender, password_file)
    print_json(sign_payment(key, client.chain_id(), contract, number, amount).to_json())


@channel.command()
@click.argument("message", type=click.File("r"))
@click.option("--recipient", type=ADDRESS, required=True, help="Who must be paid by it: you.")
@click.option("--margin", type=click.IntRange(0), default=MARGIN_S, show_default=True,
              help="Seconds that must be left to close the channel.")  # fmt: skip
@till_option
@contract_option
@rpc_option
@json_option
def accept(
    message: Any, recipient: bytes, margin: int, till: Path, contract: bytes, rpc: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Check MESSAGE (a file, or - for standard input) and keep it; only then is it worth anything.

    \b
    Example:
      wattledger channel accept message.json --recipient 0x7099...79C8 --contract 0x5FbD...0aa3
    """
    payment = read_payment(message.read(MESSAGE_BYTES_MAX + 1))
    client = connect(rpc)
    kept = Till(till)
    newest = kept.newest(client.chain_id(), contract, payment.channel_id)
    head = client.call("eth_getBlockByNumber", "latest", False)
    found = read_settled_channel(client, contract, payment.channel_id)
    worth = check_payment(
        payment, found, chain_id=client.chain_id(), contract=contract, recipient=recipient,
        taken=newest.amount if newest else 0, margin_s=margin,
        now_s=max(int(time.time()), decode_quantity(head["timestamp"])),
    )  # fmt: skip
    kept.keep(payment)
    if as_json:
        print_json({"channelId": payment.channel_id, "new": str(worth),
                    "total": str(payment.amount)})  # fmt: skip
        return
    say(
        f"accepted: {format_wei(worth)} coins more over channel {payment.channel_id}, "
        f"{format_wei(payment.amount)} in all"
    )


@channel.command()
@click.argument("number", type=click.IntRange(1))
@till_option
@sender_options
def close(number: int, till: Path, **options: Any) -> None:
    """Take what the newest message in the till is worth; the rest goes back to the payer.

    \b
    Example:
      wattledger channel close 1 --from 0x7099...79C8 --contract 0x5FbD...0aa3
    """
    chain_id = connect(options["rpc"]).chain_id()
    payment = Till(till).newest(chain_id, options["contract"], number)
    if payment is None:
        raise NodeError(f"{till} has no message of channel {number}: see --till")
    _send("close(uint256,uint256,bytes)", [number, payment.amount, payment.signature], options)
    say(f"channel {number} is closed, {format_wei(payment.amount)} coins were paid")


@channel.command("top-up")
@click.argument("number", type=click.IntRange(1))
@click.argument("amount")
@sender_options
def top_up(number: int, amount: str, **options: Any) -> None:
    """Add AMOUNT coins to channel NUMBER; messages signed before stay good.

    \b
    Example:
      wattledger channel top-up 1 0.5 --from 0xf39F...2266 --contract 0x5FbD...0aa3
    """
    _send("topUp(uint256)", [number], options, value=parse_amount(amount))
    held = read_channel(connect(options["rpc"]), options["contract"], number).balance
    say(f"channel {number} holds {format_wei(held)} coins")


@channel.command()
@click.argument("number", type=click.IntRange(1))
@sender_options
def reclaim(number: int, **options: Any) -> None:
    """Take all back once the time of channel NUMBER is over and its recipient has not closed it.

    \b
    Example:
      wattledger channel reclaim 1 --from 0xf39F...2266 --contract 0x5FbD...0aa3
    """
    _send("reclaim(uint256)", [number], options)
    say(f"channel {number} is over, its coins are back")


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(min(seconds, 253_402_300_799), UTC):%Y-%m-%d %H:%M} UTC"
