"""A household pays its supplier off the chain; what the recipient must not accept."""

import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from ledger.crypto.address import address_of, to_checksum
from node.channels import (
    Channel,
    Payment,
    PaymentRefused,
    Till,
    check_payment,
    hash_payment,
    read_payment,
    sign_payment,
)
from node.errors import NodeError
from tests.commands.terminal import fail, succeed

PAYER_KEY, OTHER_KEY = b"\x01" * 32, b"\x02" * 32
PAYER, RECIPIENT = address_of(PAYER_KEY), b"\x33" * 20
CONTRACT = b"\x44" * 20
CHAIN_ID, NOW = 1_947, 1_700_000_000
CHANNEL = Channel(PAYER, NOW + 86_400, RECIPIENT, 1_000)
OURS = {"chain_id": CHAIN_ID, "contract": CONTRACT, "recipient": RECIPIENT, "now_s": NOW}
JUNK_0 = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
HOME, SUPPLIER = (
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
)


def make(amount: int = 400, key: bytes = PAYER_KEY) -> Payment:
    return sign_payment(key, CHAIN_ID, CONTRACT, 7, amount)


def test_a_wallet_signs_the_same_message() -> None:
    typed = encode_typed_data(
        {"name": "PaymentChannel", "version": "1", "chainId": CHAIN_ID,
         "verifyingContract": CONTRACT},
        {"Payment": [{"name": "channelId", "type": "uint256"},
                     {"name": "amount", "type": "uint256"}]},
        {"channelId": 7, "amount": 400},
    )  # fmt: skip
    signed = Account.sign_message(typed, PAYER_KEY)
    assert signed.message_hash == hash_payment(CHAIN_ID, CONTRACT, 7, 400)
    assert bytes(signed.signature) == make().signature


def test_a_message_is_worth_what_is_new_in_it() -> None:
    payment = read_payment(json.dumps(make().to_json()))
    assert payment == make()
    assert check_payment(payment, CHANNEL, taken=0, **OURS) == 400
    assert check_payment(payment, CHANNEL, taken=399, **OURS) == 1


@pytest.mark.parametrize(
    ("payment", "changes", "words"),
    [
        (make(), {"taken": 400}, "nothing new: 400 wei were accepted before"),
        (make(1_001), {}, "over 1001 wei, the channel holds 1000"),
        (make(key=OTHER_KEY), {}, f"not signed by {to_checksum(PAYER)}"),
        (make(), {"chain_id": 1}, "for chain 1947"),
        (make(), {"contract": bytes(20)}, "ours is chain 1947"),
        (make(), {"recipient": PAYER}, "channel 7 pays 0x3333"),
        (make(), {"now_s": NOW + 86_400 - 3_599}, "may take the rest back in 3599 s"),
        (make(), {"now_s": NOW + 90_000}, "may take the rest back in 0 s"),
    ],
)
def test_what_is_not_worth_anything(payment, changes, words) -> None:
    with pytest.raises(PaymentRefused, match=words):
        check_payment(payment, CHANNEL, **{**OURS, "taken": 0, **changes})


@pytest.mark.parametrize("last", [0, 1, 26, 29, 255])
def test_a_signature_has_one_form(last: int) -> None:
    good = make()
    wrong = Payment(CHAIN_ID, CONTRACT, 7, 400, good.signature[:64] + bytes([last]))
    with pytest.raises(PaymentRefused, match="not signed"):
        check_payment(wrong, CHANNEL, taken=0, **OURS)


@pytest.mark.parametrize(
    "text",
    ["", "7", "{", "[]", "{}", "[" * 4_000, "x" * 4_097]
    + [
        json.dumps({**make().to_json(), key: value})
        for key, value in [
            ("amount", -1), ("amount", "ten"), ("channelId", 1.5), ("signature", "0x00"),
            ("contract", "0x1"),
        ]
    ],
)  # fmt: skip
def test_what_is_no_message(text: str) -> None:
    with pytest.raises(PaymentRefused, match="payment message"):
        read_payment(text)


def test_a_till_keeps_the_newest_of_each_channel(tmp_path: Path) -> None:
    file = tmp_path / "till.json"
    till = Till(file)
    other = sign_payment(PAYER_KEY, CHAIN_ID, CONTRACT, 8, 5)
    for payment in (make(100), other, make(200)):
        till.keep(payment)
    again = Till(file)
    assert again.newest(CHAIN_ID, CONTRACT, 7) == make(200)
    assert again.newest(CHAIN_ID, CONTRACT, 8) == other
    assert again.newest(1, CONTRACT, 7) is None
    assert file.stat().st_mode & 0o077 == 0
    file.write_text("[1]")
    with pytest.raises(NodeError, match="this is no till"):
        Till(file)


def test_a_month_over_a_channel(grid, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("channel\n")
    keys = ("--keystore", tmp_path / "keys", "--password-file", tmp_path / "password")
    (tmp_path / "key").write_text(JUNK_0)
    succeed("account", "import", tmp_path / "key", *keys)
    made = succeed(
        "contract", "deploy", "payment_channel", "--from", HOME, *grid.rpc, *keys, "--json"
    )
    at = ("--contract", json.loads(made)["address"], *grid.rpc)
    till = ("--till", tmp_path / "till.json")
    opened = succeed("channel", "open", SUPPLIER, "1", "--from", HOME, *at, *keys, "--json")
    assert json.loads(opened)["channelId"] == 1
    assert "1 coins" in succeed("channel", "show", 1, *at)
    for total in ("0.25", "0.75"):
        message = tmp_path / f"{total}.json"
        message.write_text(succeed("channel", "pay", 1, total, "--from", HOME, *at, *keys))
        accept = ("channel", "accept", message, "--recipient", SUPPLIER, *at, *till)
        assert f"{total} in all" in succeed(*accept)
        assert "nothing new" in fail(*accept)
    assert "top-up" in fail("channel", "pay", 1, "1.5", "--from", HOME, *at, *keys)
    assert "holds 1.5 coins" in succeed("channel", "top-up", 1, "0.5", "--from", HOME, *at, *keys)
    assert "StillValid" in fail("channel", "reclaim", 1, "--from", HOME, *at, *keys)
    assert "NotRecipient" in fail("channel", "close", 1, "--from", HOME, *at, *till, *keys)
    before = json.loads(succeed("account", "balance", SUPPLIER, *grid.rpc, "--json"))["wei"]
    closed = succeed("channel", "close", 1, "--from", SUPPLIER, *at, *till)
    assert "0.75 coins were paid" in closed
    after = json.loads(succeed("account", "balance", SUPPLIER, *grid.rpc, "--json"))["wei"]
    assert int(after) - int(before) == 75 * 10**16
    assert "is over" in fail("channel", "show", 1, *at)
    assert "no message of channel 2" in fail("channel", "close", 2, "--from", SUPPLIER, *at, *till)
