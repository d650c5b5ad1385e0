"""One-way payment channels: a payer locks coin once, then pays by signed messages off the chain.

Each message says how much the recipient may take in all; the newest, which is the largest, replaces
all before it. A meter's household pays its supplier watt-hour by watt-hour this way with two
transactions in a month: `open` and `close`. The messages are EIP-712 typed data of

    Payment(uint256 channelId, uint256 amount)

in the domain (name "PaymentChannel", version "1", chain id, this contract), so that one is good for
one channel of one contract on one chain, and a wallet shows what is signed.

After the published payment channels. What they left open or unsafe, and what was chosen here:

- Amounts are cumulative. With single payments a recipient must keep them all, and a counter against
  replays; with sums the newest is enough, and taking twice is impossible.
- Only the recipient closes: the payer could close with an older message. Whoever closed, the
  channel is over, and its number is never given again.
- The recipient may close until the payer has taken the rest back, even after `validUntil`: a late
  recipient loses nothing unless the payer acts. The payer can never act before that time, and can
  move it only later.
- A close without a payment needs no signature: it gives all back early.
- Signatures with a high s, which could be written in two ways, are refused as everywhere.
"""

from ledger.contract import (
    ZERO_ADDRESS,
    Contract,
    Event,
    Map,
    Revert,
    Struct,
    address,
    bytes32,
    ecrecover,
    eip712_digest,
    eip712_domain,
    hash_struct,
    indexed,
    payable,
    uint64,
    uint256,
    view,
    write,
)

NAME = "PaymentChannel"
VERSION = "1"


class Payment(Struct):
    """What the payer signs: all that the recipient may take from the channel."""

    channel_id: uint256
    amount: uint256


class Channel(Struct):
    """Three words. A channel that is over, or never was, has no payer."""

    payer: address
    valid_until: uint64
    recipient: address
    balance: uint256


class Opened(Event):
    channel_id: indexed[uint256]
    payer: indexed[address]
    recipient: indexed[address]
    amount: uint256
    valid_until: uint256


class ToppedUp(Event):
    channel_id: indexed[uint256]
    amount: uint256
    balance: uint256


class Extended(Event):
    channel_id: indexed[uint256]
    valid_until: uint256


class Closed(Event):
    """`paid` went to the recipient, the rest to the payer."""

    channel_id: indexed[uint256]
    paid: uint256
    returned: uint256


class Reclaimed(Event):
    channel_id: indexed[uint256]
    returned: uint256


class InvalidRecipient(Revert):
    """Nobody, or the payer itself, is paid by a channel."""

    recipient: address


class InvalidTime(Revert):
    """A channel is valid until some time to come, and can only be made valid for longer."""

    valid_until: uint256


class NothingPaid(Revert):
    """Coin has to come with it."""


class NotOpen(Revert):
    channel_id: uint256


class NotPayer(Revert):
    channel_id: uint256
    caller: address


class NotRecipient(Revert):
    channel_id: uint256
    caller: address


class TooMuch(Revert):
    amount: uint256
    balance: uint256


class WrongSignature(Revert):
    """The payer did not sign this amount for this channel; the signature is of `signer`, if any."""

    signer: address


class StillValid(Revert):
    """The recipient may close it until then."""

    valid_until: uint256


class PaymentChannel(Contract):
    """Channels by number, from 1."""

    _channels: Map[uint256, Channel]
    _count: uint256

    @payable
    def open_(self, recipient: address, valid_until: uint256) -> uint256:
        """Lock the coin sent for one recipient; the number of the channel."""
        payer = self.msg.sender
        if recipient == payer or recipient == ZERO_ADDRESS:
            raise InvalidRecipient(recipient)
        if valid_until <= self.block.timestamp or valid_until >= 2**64:
            raise InvalidTime(valid_until)
        if self.msg.value == 0:
            raise NothingPaid()
        number: uint256 = self._count + 1
        self._count = number
        self._channels[number] = Channel(payer, valid_until, recipient, self.msg.value)
        self.emit(Opened(number, payer, recipient, self.msg.value, valid_until))
        return number

    @payable
    def top_up(self, id_: uint256) -> None:
        """Add coin to an open channel; messages signed before stay good."""
        channel = self._open_of_payer(id_)
        if self.msg.value == 0:
            raise NothingPaid()
        balance: uint256 = channel.balance + self.msg.value
        self._channels[id_].balance = balance
        self.emit(ToppedUp(id_, self.msg.value, balance))

    @write
    def extend(self, id_: uint256, valid_until: uint256) -> None:
        """Keep the channel open for longer."""
        channel = self._open_of_payer(id_)
        if valid_until <= channel.valid_until or valid_until >= 2**64:
            raise InvalidTime(valid_until)
        self._channels[id_].valid_until = valid_until
        self.emit(Extended(id_, valid_until))

    @write
    def close(self, id_: uint256, amount: uint256, signature: bytes) -> None:
        """Take what the payer signed; by the recipient. The rest goes back to the payer."""
        channel = self._open_channel(id_)
        if self.msg.sender != channel.recipient:
            raise NotRecipient(id_, self.msg.sender)
        if amount > channel.balance:
            raise TooMuch(amount, channel.balance)
        if amount > 0:
            signer = ecrecover(self._digest(id_, amount), signature)
            if signer != channel.payer:
                raise WrongSignature(signer)
        returned: uint256 = channel.balance - amount
        self._channels.remove(id_)
        self.emit(Closed(id_, amount, returned))
        if amount > 0:
            self.send(channel.recipient, amount)
        if returned > 0:
            self.send(channel.payer, returned)

    @write
    def reclaim(self, id_: uint256) -> None:
        """Take all back once the time is over and the recipient has not closed; by the payer."""
        channel = self._open_of_payer(id_)
        if self.block.timestamp < channel.valid_until:
            raise StillValid(channel.valid_until)
        self._channels.remove(id_)
        self.emit(Reclaimed(id_, channel.balance))
        self.send(channel.payer, channel.balance)

    @view
    def channel(self, id_: uint256) -> Channel:
        """All zero for one that is over, or never was."""
        return self._channels[id_]

    @view
    def channel_count(self) -> uint256:
        return self._count

    @view
    def digest(self, id_: uint256, amount: uint256) -> bytes32:
        """What the payer signs for this amount."""
        return self._digest(id_, amount)

    @view
    def is_payment(self, id_: uint256, amount: uint256, signature: bytes) -> bool:
        """Whether `close` would pay this amount now."""
        channel = self._channels[id_]
        if channel.payer == ZERO_ADDRESS or amount > channel.balance:
            return False
        return ecrecover(self._digest(id_, amount), signature) == channel.payer

    def _digest(self, id_: uint256, amount: uint256) -> bytes32:
        return eip712_digest(eip712_domain(NAME, VERSION), hash_struct(Payment(id_, amount)))

    def _open_channel(self, id_: uint256) -> Channel:
        channel = self._channels[id_]
        if channel.payer == ZERO_ADDRESS:
            raise NotOpen(id_)
        return channel

    def _open_of_payer(self, id_: uint256) -> Channel:
        channel = self._open_channel(id_)
        if self.msg.sender != channel.payer:
            raise NotPayer(id_, self.msg.sender)
        return channel
