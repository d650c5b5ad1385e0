"""The published electricity dapp made whole: what each user consumed, and what is owed for it.

One provider keeps the list of users; a user, or the provider for it, sets usage and bill. Amounts
are whatever unit provider and users agree on; nothing here adds them up but `dailyUsage`. For
readings that are counted once, corrected with a history and priced on chain, see `metering`.
"""

from ledger.contract import (
    Contract,
    Event,
    Map,
    Revert,
    Struct,
    address,
    indexed,
    string,
    uint32,
    uint64,
    uint256,
    view,
    write,
)

INDIAN_STANDARD_TIME_S = 19_800  # UTC+5:30, all year
DAY_S = 86_400
LARGEST = 2**256 - 1  # where a day stays: were it refused, a user could stop its provider's setDebt


class UserAdded(Event):
    user: indexed[address]


class UserRemoved(Event):
    user: indexed[address]


class UsageSet(Event):
    user: indexed[address]
    usage: uint256


class BillSet(Event):
    user: indexed[address]
    bill: uint256


class DebtSet(Event):
    user: indexed[address]
    usage: uint256
    bill: uint256


class NotActive(Revert):
    """The user is not, or no longer, on the provider's list."""

    user: address


class NotProvider(Revert):
    """Only the provider does this; the caller is not it."""

    caller: address


class Account(Struct):
    """Three words: usage, bill, and the rest packed into one."""

    usage: uint256
    bill: uint256
    last_update: uint64
    active: bool


class Provider(Contract):
    """Usage and bill of a provider's users, in the latest value and by day."""

    _provider_name: string
    _description: string
    _owner: address
    _accounts: Map[address, Account]
    _daily_usage: Map[tuple[address, uint32], uint256]

    def __init__(self, provider_name: string, description: string) -> None:
        self._provider_name = provider_name
        self._description = description
        self._owner = self.msg.sender

    @view
    def provider_name(self) -> string:
        return self._provider_name

    @view
    def description(self) -> string:
        return self._description

    @view
    def owner(self) -> address:
        """The provider: who deployed this contract."""
        return self._owner

    @view
    def is_active(self, user: address) -> bool:
        return self._accounts[user].active

    @view
    def last_update(self, user: address) -> uint256:
        """Block time, in Unix seconds, of the last usage, bill or debt set for the user; or 0."""
        return self._accounts[user].last_update

    @view
    def get_usage(self, user: address) -> uint256:
        return self._accounts[user].usage

    @view
    def get_bill(self, user: address) -> uint256:
        return self._accounts[user].bill

    @view
    def daily_usage(self, user: address, day: uint32) -> uint256:
        """By how much the usage rose on a day, counted from 1970-01-01 in Indian Standard Time."""
        return self._daily_usage[user, day]

    @write
    def add_user(self, user: address) -> None:
        """Let a user report. Adding one twice is no error."""
        self._check_provider()
        self._set_active(user, True)
        self.emit(UserAdded(user))

    @write
    def remove_user(self, user: address) -> None:
        """Stop a user from reporting; its values stay readable. Twice is no error."""
        self._check_provider()
        self._set_active(user, False)
        self.emit(UserRemoved(user))

    @write
    def set_usage(self, usage: uint256) -> None:
        """Replace the caller's usage."""
        user = self.msg.sender
        account = self._accounts[user]
        if not account.active:
            raise NotActive(user)
        self._store(user, account, usage, account.bill)
        self.emit(UsageSet(user, usage))

    @write
    def set_bill(self, bill: uint256) -> None:
        """Replace the caller's bill."""
        user = self.msg.sender
        account = self._accounts[user]
        if not account.active:
            raise NotActive(user)
        self._store(user, account, account.usage, bill)
        self.emit(BillSet(user, bill))

    @write
    def set_debt(self, usage: uint256, bill: uint256, user: address) -> None:
        """Replace usage and bill of a user; by the provider, or by that user while active."""
        account = self._accounts[user]
        sender = self.msg.sender
        if sender != self._owner:
            if sender != user:
                raise NotProvider(sender)
            if not account.active:
                raise NotActive(user)
        self._store(user, account, usage, bill)
        self.emit(DebtSet(user, usage, bill))

    def _check_provider(self) -> None:
        if self.msg.sender != self._owner:
            raise NotProvider(self.msg.sender)

    def _set_active(self, user: address, active: bool) -> None:
        account = self._accounts[user]
        self._accounts[user] = Account(account.usage, account.bill, account.last_update, active)

    def _store(self, user: address, account: Account, usage: uint256, bill: uint256) -> None:
        now = self.block.timestamp
        self._accounts[user] = Account(usage, bill, now, account.active)
        if usage > account.usage:
            day = (now + INDIAN_STANDARD_TIME_S) // DAY_S
            risen = self._daily_usage[user, day] + usage - account.usage
            self._daily_usage[user, day] = min(risen, LARGEST)
