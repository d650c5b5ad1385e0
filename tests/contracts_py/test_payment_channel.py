"""Channels: what is signed is paid once, the rest comes back, and nobody gets at another's coin."""

import pytest
from eth_account import Account as Wallet
from eth_account.messages import encode_typed_data
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from contracts_py.payment_channel import (
    Channel,
    Closed,
    Extended,
    InvalidRecipient,
    InvalidTime,
    NothingPaid,
    NotOpen,
    NotPayer,
    NotRecipient,
    Opened,
    PaymentChannel,
    Reclaimed,
    StillValid,
    TooMuch,
    ToppedUp,
    WrongSignature,
)
from ledger.contract.testing import CHAIN_ID, Chain, make_account
from ledger.contract.testing.machine import ContractMachine

NOW = 1_700_000_000
END = NOW + 1_000
PAYER, RECIPIENT, OTHER = (make_account(name) for name in ("payer", "recipient", "other"))
COINS = 10_000


@pytest.fixture
def chain():
    chain = Chain(timestamp=NOW)
    for account in (PAYER, RECIPIENT, OTHER):
        chain.fund(account, COINS)
    return chain


@pytest.fixture
def channels(chain):
    contract = chain.deploy(PaymentChannel, sender=OTHER)
    contract.open_(RECIPIENT, END, value=1_000, sender=PAYER)
    return contract


def sign(contract, amount, *, number=1, key=PAYER, **domain):
    """The payer's message as a wallet signs it: EIP-712, by another library than the contract's."""
    message = encode_typed_data(
        {
            "name": "PaymentChannel",
            "version": "1",
            "chainId": CHAIN_ID,
            "verifyingContract": contract.address,
            **domain,
        },
        {
            "Payment": [
                {"name": "channelId", "type": "uint256"},
                {"name": "amount", "type": "uint256"},
            ]
        },
        {"channelId": number, "amount": amount},
    )
    return bytes(Wallet.sign_message(message, key.key).signature)


def test_opening_locks_the_coin(chain, channels):
    receipt = channels.open_(OTHER, END, value=5, sender=PAYER)
    assert receipt.events == [Opened(2, PAYER, OTHER, 5, END)]
    assert channels.channel(1).balance == 1_000
    assert chain.balance(PAYER) == COINS - 1_005
    assert chain.balance(channels.address) == 1_005


def test_the_recipient_takes_the_newest_sum_and_the_rest_returns(chain, channels):
    sign(channels, 300)  # an older message is simply not used
    closed = channels.close(1, 400, sign(channels, 400), sender=RECIPIENT)
    assert closed.events == [Closed(1, 400, 600)]
    assert chain.balance(RECIPIENT) == COINS + 400
    assert chain.balance(PAYER) == COINS - 400
    with pytest.raises(NotOpen):
        channels.close(1, 400, sign(channels, 400), sender=RECIPIENT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Other"},
        {"version": "2"},
        {"chainId": CHAIN_ID + 1},
        {"verifyingContract": bytes(20)},
        {"number": 2},
        {"key": RECIPIENT},
    ],
    ids=str,
)
def test_a_message_is_good_for_one_channel_of_one_contract_on_one_chain(channels, wrong):
    assert channels.is_payment(1, 400, sign(channels, 400))
    signature = sign(channels, 400, **wrong)
    assert not channels.is_payment(1, 400, signature)
    with pytest.raises(WrongSignature):
        channels.close(1, 400, signature, sender=RECIPIENT)


@pytest.mark.parametrize("signature", [b"", bytes(65), bytes(64), b"\xff" * 65, bytes(66)])
def test_what_is_no_signature(channels, signature):
    with pytest.raises(WrongSignature):
        channels.close(1, 1, signature, sender=RECIPIENT)


def test_another_amount_than_was_signed(channels):
    with pytest.raises(WrongSignature):
        channels.close(1, 401, sign(channels, 400), sender=RECIPIENT)
    with pytest.raises(TooMuch):
        channels.close(1, 1_001, sign(channels, 1_001), sender=RECIPIENT)


def test_the_recipient_gives_all_back_without_a_message(chain, channels):
    channels.close(1, 0, b"", sender=RECIPIENT)
    assert chain.balance(PAYER) == COINS


def test_nobody_else_closes_tops_up_extends_or_reclaims(chain, channels):
    for sender in (PAYER, OTHER):
        with pytest.raises(NotRecipient):
            channels.close(1, 400, sign(channels, 400), sender=sender)
    chain.timestamp = END
    for call in (
        lambda: channels.top_up(1, value=1, sender=OTHER),
        lambda: channels.extend(1, END + 1, sender=OTHER),
        lambda: channels.reclaim(1, sender=RECIPIENT),
    ):
        with pytest.raises(NotPayer):
            call()


def test_a_top_up_leaves_older_messages_good(channels):
    signature = sign(channels, 900)
    assert channels.top_up(1, value=500, sender=PAYER).events == [ToppedUp(1, 500, 1_500)]
    assert channels.close(1, 900, signature, sender=RECIPIENT).events == [Closed(1, 900, 600)]


def test_the_payer_reclaims_after_the_time_and_not_before(chain, channels):
    with pytest.raises(StillValid):
        channels.reclaim(1, sender=PAYER)
    assert channels.extend(1, END + 10, sender=PAYER).events == [Extended(1, END + 10)]
    with pytest.raises(InvalidTime):
        channels.extend(1, END + 10, sender=PAYER)
    chain.timestamp = END + 10
    assert channels.reclaim(1, sender=PAYER).events == [Reclaimed(1, 1_000)]
    assert chain.balance(PAYER) == COINS


def test_a_late_recipient_still_closes_while_the_payer_has_not_reclaimed(chain, channels):
    chain.timestamp = END + 1
    channels.close(1, 1_000, sign(channels, 1_000), sender=RECIPIENT)
    assert chain.balance(RECIPIENT) == COINS + 1_000


def test_a_channel_that_makes_no_sense(channels):
    for recipient in (bytes(20), PAYER):
        with pytest.raises(InvalidRecipient):
            channels.open_(recipient, END, value=1, sender=PAYER)
    for end in (NOW, 2**64, 2**256 - 1):
        with pytest.raises(InvalidTime):
            channels.open_(RECIPIENT, end, value=1, sender=PAYER)
    with pytest.raises(NothingPaid):
        channels.open_(RECIPIENT, END, sender=PAYER)


class Channels(ContractMachine):
    """Any run of calls: coin is conserved, and storage is what a dictionary of channels says."""

    contract = PaymentChannel
    accounts = ("owner", "payer", "recipient")

    def start(self):
        self.opened = {}
        self.count = 0

    def model(self):
        return {
            "_channels": {
                number: Channel(PAYER, end, RECIPIENT, balance)
                for number, (balance, end) in self.opened.items()
            },
            "_count": self.count,
        }

    @rule(value=st.integers(0, 50), seconds=st.integers(-1, 100))
    def open(self, value, seconds):
        end = self.chain.timestamp + seconds
        if self.attempt("open_", RECIPIENT, end, value=value, sender=PAYER):
            assert value > 0 and seconds > 0
            self.count += 1
            self.opened[self.count] = (value, end)

    @rule(number=st.integers(1, 5), value=st.integers(0, 50))
    def top_up(self, number, value):
        done = self.attempt("top_up", number, value=value, sender=PAYER)
        assert bool(done) == (number in self.opened and value > 0)
        if done:
            balance, end = self.opened[number]
            self.opened[number] = (balance + value, end)

    @rule(number=st.integers(1, 5), amount=st.integers(0, 60))
    def close(self, number, amount):
        signature = sign(self.deployed, amount, number=number)
        done = self.attempt("close", number, amount, signature, sender=RECIPIENT)
        assert bool(done) == (number in self.opened and amount <= self.opened[number][0])
        if done:
            del self.opened[number]

    @rule(number=st.integers(1, 5), later=st.integers(0, 60))
    def reclaim(self, number, later):
        self.chain.timestamp += later
        done = self.attempt("reclaim", number, sender=PAYER)
        now = self.chain.timestamp
        assert bool(done) == (number in self.opened and now >= self.opened[number][1])
        if done:
            del self.opened[number]


TestChannels = Channels.TestCase
TestChannels.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
