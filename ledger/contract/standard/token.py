"""A token, ERC-20 with the errors of ERC-6093, as OpenZeppelin's: balances change in `_update`."""

from ledger.contract import (
    ZERO_ADDRESS,
    Contract,
    Event,
    Map,
    Revert,
    address,
    bytes4,
    indexed,
    string,
    uint8,
    uint256,
    view,
    write,
)

DECIMALS = 18
NO_LIMIT = 2**256 - 1
ERC20_ID: bytes4 = b"\x36\x37\x2b\x07"
ERC165_ID: bytes4 = b"\x01\xff\xc9\xa7"


class Transfer(Event):
    from_: indexed[address]
    to: indexed[address]
    value: uint256


class Approval(Event):
    owner: indexed[address]
    spender: indexed[address]
    value: uint256


class ERC20InsufficientBalance(Revert):
    sender: address
    balance: uint256
    needed: uint256


class ERC20InvalidSender(Revert):
    sender: address


class ERC20InvalidReceiver(Revert):
    receiver: address


class ERC20InsufficientAllowance(Revert):
    spender: address
    allowance: uint256
    needed: uint256


class ERC20InvalidApprover(Revert):
    approver: address


class ERC20InvalidSpender(Revert):
    spender: address


class Token(Contract):
    """What wallets know as a token. The constructor of what builds on it mints."""

    _balances: Map[address, uint256]
    _allowances: Map[tuple[address, address], uint256]
    _total_supply: uint256
    _name: string
    _symbol: string

    def __init__(self, name: string, symbol: string) -> None:
        self._name = name
        self._symbol = symbol

    @view
    def name(self) -> string:
        return self._name

    @view
    def symbol(self) -> string:
        return self._symbol

    @view
    def decimals(self) -> uint8:
        """By how many digits a wallet moves the point."""
        return DECIMALS

    @view
    def total_supply(self) -> uint256:
        return self._total_supply

    @view
    def balance_of(self, account: address) -> uint256:
        return self._balances[account]

    @view
    def allowance(self, owner: address, spender: address) -> uint256:
        """What the spender may still move of the owner's; 2**256 - 1 is without limit."""
        return self._allowances[owner, spender]

    @write
    def transfer(self, to: address, value: uint256) -> bool:
        self._transfer(self.msg.sender, to, value)
        return True

    @write
    def approve(self, spender: address, value: uint256) -> bool:
        self._approve(self.msg.sender, spender, value)
        return True

    @write
    def transfer_from(self, from_: address, to: address, value: uint256) -> bool:
        self._spend_allowance(from_, self.msg.sender, value)
        self._transfer(from_, to, value)
        return True

    @view
    def supports_interface(self, interface_id_: bytes4) -> bool:
        return interface_id_ == ERC20_ID or interface_id_ == ERC165_ID

    def _transfer(self, from_: address, to: address, value: uint256) -> None:
        if from_ == ZERO_ADDRESS:
            raise ERC20InvalidSender(from_)
        if to == ZERO_ADDRESS:
            raise ERC20InvalidReceiver(to)
        self._update(from_, to, value)

    def _mint(self, account: address, value: uint256) -> None:
        if account == ZERO_ADDRESS:
            raise ERC20InvalidReceiver(account)
        self._update(ZERO_ADDRESS, account, value)

    def _burn(self, account: address, value: uint256) -> None:
        if account == ZERO_ADDRESS:
            raise ERC20InvalidSender(account)
        self._update(account, ZERO_ADDRESS, value)

    def _update(self, from_: address, to: address, value: uint256) -> None:
        """Every change of a balance goes through here: override it to add a condition."""
        if from_ == ZERO_ADDRESS:
            self._total_supply += value
        else:
            balance = self._balances[from_]
            if balance < value:
                raise ERC20InsufficientBalance(from_, balance, value)
            self._balances[from_] = balance - value
        if to == ZERO_ADDRESS:
            self._total_supply -= value
        else:
            self._balances[to] += value
        self.emit(Transfer(from_, to, value))

    def _approve(self, owner: address, spender: address, value: uint256) -> None:
        if owner == ZERO_ADDRESS:
            raise ERC20InvalidApprover(owner)
        if spender == ZERO_ADDRESS:
            raise ERC20InvalidSpender(spender)
        self._allowances[owner, spender] = value
        self.emit(Approval(owner, spender, value))

    def _spend_allowance(self, owner: address, spender: address, value: uint256) -> None:
        left = self._allowances[owner, spender]
        if left != NO_LIMIT:
            if left < value:
                raise ERC20InsufficientAllowance(spender, left, value)
            self._allowances[owner, spender] = left - value
