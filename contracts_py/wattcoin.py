"""A neighbourhood's energy coin: bought from suppliers or neighbours, used up by meters.

After the published Wattcoin system. The token is ERC-20 with permits (EIP-2612), so that wallets
hold it as any other; 10**18 of its smallest units are one token.

- **Suppliers** issue tokens as promises of energy, sell them at a price, and say what a kWh costs.
  An account has one supplier: it buys from it, and its meters' use is paid to it.
- **Neighbours** offer tokens at a price of their own; the contract holds what is offered.
- **Meters** have keys of their own. Anybody may relay what a meter signed (`meterUpdate`): EIP-712
  typed data MeterUpdate(uint256 value,uint64 counter,uint32 powerW) in the domain ("Wattcoin", "1",
  chain, this contract), value being watt-hours in all and powerW the power now. `signature` is
  abi.encode(bytes32 r, bytes32 s, uint8 v, uint64 counter, uint32 powerW): the published call has a
  value and a signature only, so what else is signed travels beside the signature.
- **Use**: `exhaust(usageWh)`, sent by the meter, moves usage times rate from the account to its
  supplier. What the account cannot pay is its debt, with the event Exhausted, and `supplyAllowed`
  turns false, which a relay follows, until the debt is paid.
- **Policy**: an account that switches power saving on is in it while its meter reports more than
  `powerSavingW` (100 kW unless it says otherwise).

Where the published rules were open or unsafe, what was chosen:

- A counter must rise but may skip: an update lost on the way does not block those after it. One of
  the same or a lower counter is refused, and so is a total that falls.
- Prices of offers and suppliers are wei for a whole token; costs are rounded up, change returned.
- A price may change while a transaction waits: `buy` costs what it costs then, and takes no more
  than the coin that came with it.
- A supplier's rate is what an account's use costs, and an account in debt cannot leave. So a rate
  rises a week after it is announced (RiseAnnounced) and falls at once; the same rise announced
  again keeps its day, another one begins anew. A price, which nobody must pay, changes at once.
- Debt is paid first from whatever the account exhausts later, and at any time by anybody for it.
- A supplier who is removed sells no more; what its accounts use is still paid to it.
- A meter whose key is lost or stolen is retired; its counter and value stay, so that what it signed
  is not good again when it is enrolled anew, for whomever.
- What a meter says it used is bounded, and the supplier to whom it is owed can forgive it: else a
  faulty meter could leave a debt that nobody can ever pay. What is issued at a time is bounded, or
  one supplier could fill the total supply and stop all others.
- Tokens sent to the zero address or to this contract would be lost, and are refused.
"""

from ledger.contract import (
    ROUND_CEILING,
    ZERO_ADDRESS,
    ERC20InvalidReceiver,
    Event,
    Map,
    Revert,
    Struct,
    Token,
    abi_decode,
    abi_encode,
    address,
    bytes4,
    bytes32,
    ecrecover,
    eip712_digest,
    eip712_domain,
    hash_struct,
    indexed,
    keccak256,
    mul_div,
    override,
    payable,
    string,
    uint8,
    uint32,
    uint64,
    uint128,
    uint256,
    view,
    write,
)

VERSION = "1"
TOKEN_UNITS = 10**18
WH_PER_KWH = 1_000
POWER_SAVING_W = 100_000
USAGE_MAX_WH = 1_000_000_000_000  # a terawatt-hour used at once is a mistake
ISSUE_MAX = 2**128  # at a time: no sum of such comes near 256 bits
NOTICE_S = 604_800  # from the announcement of a higher rate until it is taken
EIP2612_ID: bytes4 = b"\x9d\x8f\xf7\xda"
PERMIT = b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"


class SupplierSet(Event):
    supplier: indexed[address]
    price: uint256
    rate: uint256
    active: bool


class RiseAnnounced(Event):
    """From `from_s`, in Unix seconds, the supplier takes so many units for a kWh."""

    supplier: indexed[address]
    rate: uint128
    from_s: uint64


class SupplierChosen(Event):
    account: indexed[address]
    supplier: indexed[address]


class Bought(Event):
    account: indexed[address]
    supplier: indexed[address]
    amount: uint256
    paid: uint256


class Offered(Event):
    offer_id: indexed[uint256]
    seller: indexed[address]
    amount: uint256
    price_per_token: uint256


class Accepted(Event):
    offer_id: indexed[uint256]
    buyer: indexed[address]
    amount: uint256
    paid: uint256


class Cancelled(Event):
    offer_id: indexed[uint256]
    returned: uint256


class Enrolled(Event):
    meter: indexed[address]
    account: indexed[address]


class Retired(Event):
    meter: indexed[address]
    account: indexed[address]


class MeterUpdated(Event):
    meter: indexed[address]
    value: uint256
    counter: uint64
    power_w: uint32


class Used(Event):
    meter: indexed[address]
    account: indexed[address]
    usage_wh: uint256
    paid: uint256


class Exhausted(Event):
    """The account's tokens did not cover it: `debt` is all it owes now."""

    meter: indexed[address]
    account: indexed[address]
    debt: uint256


class DebtPaid(Event):
    account: indexed[address]
    amount: uint256
    debt: uint256


class DebtForgiven(Event):
    account: indexed[address]
    amount: uint256
    debt: uint256


class PolicyChanged(Event):
    account: indexed[address]
    on: bool
    power_saving_w: uint256


class NotOwner(Revert):
    caller: address


class NotSupplier(Revert):
    caller: address


class NoSupplier(Revert):
    """The account has chosen no supplier, or one that sells no more."""

    account: address


class Expired(Revert):
    deadline: uint256


class InvalidSigner(Revert):
    """The permit was not signed by the owner, or with another nonce."""

    signer: address
    owner: address


class NotEnoughPaid(Revert):
    cost: uint256
    paid: uint256


class NoSuchOffer(Revert):
    """There is none of that number, it is not the caller's, or less is left of it."""

    offer_id: uint256


class InvalidAmount(Revert):
    """Nothing, a price of nothing, or more than can be meant."""


class AlreadyEnrolled(Revert):
    meter: address
    account: address


class NotEnrolled(Revert):
    """The caller, or who signed, is no meter that is enrolled here."""

    meter: address


class OldCounter(Revert):
    meter: address
    counter: uint64
    last: uint64


class ValueFell(Revert):
    meter: address
    value: uint256
    last: uint256


class MeterUpdate(Struct):
    """What a meter signs: watt-hours in all, a counter that rises, the power at the moment."""

    value: uint256
    counter: uint64
    power_w: uint32


class Supplier(Struct):
    """Wei for a token, and tokens' smallest units for a kWh."""

    price: uint128
    rate: uint128
    active: bool


class Rise(Struct):
    """A higher rate that was announced, and from when it is taken; all zero if there is none."""

    rate: uint128
    from_s: uint64


class Account(Struct):
    """One's supplier, what one owes it, and the power above which one saves (0: 100 kW)."""

    supplier: address
    saves_power: bool
    debt: uint256
    power_saving_w: uint256


class Meter(Struct):
    account: address
    counter: uint64
    power_w: uint32
    value: uint256


class Offer(Struct):
    seller: address
    amount: uint256
    price: uint256


class Wattcoin(Token):
    """Token, market and meters."""

    _owner: address
    _nonces: Map[address, uint256]
    _suppliers: Map[address, Supplier]
    _accounts: Map[address, Account]
    _meters: Map[address, Meter]
    _offers: Map[uint256, Offer]
    _offer_count: uint256
    _rises: Map[address, Rise]

    def __init__(self, name: string, symbol: string) -> None:
        super().__init__(name, symbol)
        self._owner = self.msg.sender

    # EIP-2612; ERC-20 is in the base.

    @view
    def nonces(self, owner: address) -> uint256:
        return self._nonces[owner]

    @view
    def DOMAIN_SEPARATOR(self) -> bytes32:
        return eip712_domain(self._name, VERSION)

    @write
    def permit(
        self,
        owner: address,
        spender: address,
        value: uint256,
        deadline: uint256,
        v: uint8,
        r: bytes32,
        s: bytes32,
    ) -> None:
        """An approval that its owner signed and anybody brings."""
        if self.block.timestamp > deadline:
            raise Expired(deadline)
        nonce = self._nonces[owner]
        words = abi_encode(keccak256(PERMIT), owner, spender, value, nonce, deadline)
        digest = eip712_digest(eip712_domain(self._name, VERSION), keccak256(words))
        signer = ecrecover(digest, v, r, s)
        if signer == ZERO_ADDRESS or signer != owner:
            raise InvalidSigner(signer, owner)
        self._nonces[owner] = nonce + 1
        self._approve(owner, spender, value)

    @override
    @view
    def supports_interface(self, interface_id_: bytes4) -> bool:
        return interface_id_ == EIP2612_ID or super().supports_interface(interface_id_)

    # Suppliers.

    @view
    def owner(self) -> address:
        return self._owner

    @write
    def set_supplier(self, supplier: address, price: uint128, rate: uint128, active: bool) -> None:
        """Wei for a token and units for a kWh; by the owner, or by an active one for itself.

        A rate above that of a supplier who has one is taken a week later, all else at once.
        """
        caller = self.msg.sender
        if caller != self._owner and not (
            caller == supplier and self._suppliers[caller].active and active
        ):
            raise NotOwner(caller)
        if supplier == ZERO_ADDRESS or supplier == self.address or price == 0:
            raise InvalidAmount()
        taken: uint128 = rate
        if self._suppliers[supplier].price > 0:
            taken = min(rate, self._rate(supplier))
        self._suppliers[supplier] = Supplier(price, taken, active)
        self.emit(SupplierSet(supplier, price, taken, active))
        if taken == rate:
            self._rises.remove(supplier)
        elif self._rises[supplier].rate != rate:
            from_s: uint64 = self.block.timestamp + NOTICE_S
            self._rises[supplier] = Rise(rate, from_s)
            self.emit(RiseAnnounced(supplier, rate, from_s))

    @view
    def supplier(self, account: address) -> Supplier:
        """Its terms now."""
        terms = self._suppliers[account]
        return Supplier(terms.price, self._rate(account), terms.active)

    @view
    def rise_of(self, supplier: address) -> Rise:
        """The rise that was announced last, come or still to come."""
        return self._rises[supplier]

    @write
    def issue(self, amount: uint256) -> None:
        """New tokens for an active supplier to sell."""
        supplier = self.msg.sender
        if not self._suppliers[supplier].active:
            raise NotSupplier(supplier)
        if amount > ISSUE_MAX:
            raise InvalidAmount()
        self._mint(supplier, amount)

    @write
    def redeem(self, amount: uint256) -> None:
        """Tokens that came back to a supplier, for energy delivered, cease to be."""
        supplier = self.msg.sender
        if self._suppliers[supplier].price == 0:
            raise NotSupplier(supplier)
        self._burn(supplier, amount)

    @write
    def choose_supplier(self, supplier: address) -> None:
        """From whom the caller buys and to whom its use is paid; not while it owes the last one."""
        account = self.msg.sender
        if not self._suppliers[supplier].active or self._accounts[account].debt > 0:
            raise NoSupplier(account)
        self._accounts[account].supplier = supplier
        self.emit(SupplierChosen(account, supplier))

    @payable
    def buy(self, amount: uint256) -> None:
        """Tokens of the caller's supplier at its price; coin above it comes back."""
        account = self.msg.sender
        supplier = self._accounts[account].supplier
        terms = self._suppliers[supplier]
        if not terms.active:
            raise NoSupplier(account)
        cost = self._cost(amount, terms.price)
        self._transfer(supplier, account, amount)
        self.emit(Bought(account, supplier, amount, cost))
        self._settle(supplier, cost)

    # Neighbours.

    @write
    def offer(self, amount: uint256, price_per_token: uint256) -> uint256:
        """Set tokens aside for whoever pays so much wei for each whole one."""
        if amount == 0 or price_per_token == 0:
            raise InvalidAmount()
        seller = self.msg.sender
        self._update(seller, self.address, amount)
        number: uint256 = self._offer_count + 1
        self._offer_count = number
        self._offers[number] = Offer(seller, amount, price_per_token)
        self.emit(Offered(number, seller, amount, price_per_token))
        return number

    @payable
    def accept(self, offer_id: uint256, amount: uint256) -> None:
        """Buy all or some of an offer; coin above its price comes back."""
        offer = self._offers[offer_id]
        if amount == 0:
            raise InvalidAmount()
        if amount > offer.amount:
            raise NoSuchOffer(offer_id)
        cost = self._cost(amount, offer.price)
        self._reduce(offer_id, offer.amount - amount)
        self._transfer(self.address, self.msg.sender, amount)
        self.emit(Accepted(offer_id, self.msg.sender, amount, cost))
        self._settle(offer.seller, cost)

    @write
    def cancel(self, offer_id: uint256) -> None:
        """Take back what nobody bought; by the seller."""
        offer = self._offers[offer_id]
        if offer.seller != self.msg.sender:
            raise NoSuchOffer(offer_id)
        self._reduce(offer_id, 0)
        self._transfer(self.address, offer.seller, offer.amount)
        self.emit(Cancelled(offer_id, offer.amount))

    @view
    def offer_of(self, offer_id: uint256) -> Offer:
        """All zero for one that is over, or never was."""
        return self._offers[offer_id]

    # Meters.

    @write
    def enrol(self, meter: address, account: address) -> None:
        """A meter's key and whose it is; by the owner."""
        if self.msg.sender != self._owner:
            raise NotOwner(self.msg.sender)
        if meter == ZERO_ADDRESS or account == ZERO_ADDRESS:
            raise ERC20InvalidReceiver(ZERO_ADDRESS)
        enrolled = self._meters[meter].account
        if enrolled != ZERO_ADDRESS:
            raise AlreadyEnrolled(meter, enrolled)
        self._meters[meter].account = account
        self.emit(Enrolled(meter, account))

    @write
    def retire(self, meter: address) -> None:
        """Hear and charge a meter no more; by the owner."""
        if self.msg.sender != self._owner:
            raise NotOwner(self.msg.sender)
        account = self._meters[meter].account
        if account == ZERO_ADDRESS:
            raise NotEnrolled(meter)
        self._meters[meter].account = ZERO_ADDRESS
        self.emit(Retired(meter, account))

    @write
    def meter_update(self, value: uint256, signature: bytes) -> None:
        """What a meter signed, brought by anybody."""
        r, s, v, counter, power_w = abi_decode(signature, bytes32, bytes32, uint8, uint64, uint32)
        meter = ecrecover(self._update_digest(value, counter, power_w), v, r, s)
        last = self._meters[meter]
        if last.account == ZERO_ADDRESS:
            raise NotEnrolled(meter)
        if counter <= last.counter:
            raise OldCounter(meter, counter, last.counter)
        if value < last.value:
            raise ValueFell(meter, value, last.value)
        self._meters[meter] = Meter(last.account, counter, power_w, value)
        self.emit(MeterUpdated(meter, value, counter, power_w))

    @view
    def update_digest(self, value: uint256, counter: uint64, power_w: uint32) -> bytes32:
        """What a meter signs."""
        return self._update_digest(value, counter, power_w)

    @write
    def exhaust(self, usage_wh: uint256) -> None:
        """The meter's account pays its supplier for so much energy, or owes it."""
        meter = self.msg.sender
        account = self._meters[meter].account
        if account == ZERO_ADDRESS:
            raise NotEnrolled(meter)
        if usage_wh > USAGE_MAX_WH:
            raise InvalidAmount()
        there = self._accounts[account]
        if there.supplier == ZERO_ADDRESS:
            raise NoSupplier(account)
        rate = self._rate(there.supplier)
        owed: uint256 = there.debt + mul_div(usage_wh, rate, WH_PER_KWH, ROUND_CEILING)
        paid: uint256 = min(owed, self._balances[account])
        debt: uint256 = owed - paid
        if paid > 0:
            self._transfer(account, there.supplier, paid)
        if debt != there.debt:
            self._accounts[account].debt = debt
        self.emit(Used(meter, account, usage_wh, paid))
        if debt > 0:
            self.emit(Exhausted(meter, account, debt))

    @write
    def pay_debt(self, account: address, amount: uint256) -> None:
        """Pay what an account owes, all or some of it, from the caller's tokens."""
        there = self._accounts[account]
        paid = min(amount, there.debt)
        debt: uint256 = there.debt - paid
        self._accounts[account].debt = debt
        self._transfer(self.msg.sender, there.supplier, paid)
        self.emit(DebtPaid(account, paid, debt))

    @write
    def forgive(self, account: address, amount: uint256) -> None:
        """Let go of what an account owes, all or some of it; by the supplier to whom it is owed."""
        there = self._accounts[account]
        if there.debt == 0 or self.msg.sender != there.supplier:
            raise NotSupplier(self.msg.sender)
        forgiven = min(amount, there.debt)
        debt: uint256 = there.debt - forgiven
        self._accounts[account].debt = debt
        self.emit(DebtForgiven(account, forgiven, debt))

    @write
    def set_policy(self, on: bool, power_saving_w: uint256) -> None:
        """Switch the caller's power saving on or off; 0 W stands for 100 kW."""
        account = self.msg.sender
        self._accounts[account].saves_power = on
        self._accounts[account].power_saving_w = power_saving_w
        self.emit(PolicyChanged(account, on, self._power_saving_w(account)))

    @view
    def meter(self, meter_: address) -> Meter:
        """Its account and its last update."""
        return self._meters[meter_]

    @view
    def debt_of(self, account: address) -> uint256:
        return self._accounts[account].debt

    @view
    def supplier_of(self, account: address) -> address:
        return self._accounts[account].supplier

    @view
    def supply_allowed(self, meter: address) -> bool:
        """Whether a relay should let energy through: its account has a supplier, owing nothing.

        Without a supplier nobody would be paid, and nothing be owed, for what is used.
        """
        there = self._accounts[self._meters[meter].account]
        return there.supplier != ZERO_ADDRESS and there.debt == 0

    @view
    def power_saving(self, meter: address) -> bool:
        """Whether the account saves power and the meter's last report is above its limit."""
        last = self._meters[meter]
        there = self._accounts[last.account]
        return there.saves_power and last.power_w > self._power_saving_w(last.account)

    # Inside.

    def _rate(self, supplier: address) -> uint128:
        """Units for a kWh now."""
        rise = self._rises[supplier]
        if rise.from_s > 0 and self.block.timestamp >= rise.from_s:
            return rise.rate
        return self._suppliers[supplier].rate

    def _power_saving_w(self, account: address) -> uint256:
        chosen = self._accounts[account].power_saving_w
        return chosen if chosen > 0 else POWER_SAVING_W

    def _update_digest(self, value: uint256, counter: uint64, power_w: uint32) -> bytes32:
        update = hash_struct(MeterUpdate(value, counter, power_w))
        return eip712_digest(eip712_domain("Wattcoin", VERSION), update)

    @override
    def _transfer(self, from_: address, to: address, value: uint256) -> None:
        """Nobody could move what this contract holds, but for what is offered."""
        if to == self.address:
            raise ERC20InvalidReceiver(to)
        super()._transfer(from_, to, value)

    def _cost(self, amount: uint256, price: uint256) -> uint256:
        cost: uint256 = mul_div(amount, price, TOKEN_UNITS, ROUND_CEILING)
        if self.msg.value < cost:
            raise NotEnoughPaid(cost, self.msg.value)
        return cost

    def _reduce(self, offer_id: uint256, amount: uint256) -> None:
        if amount == 0:
            self._offers.remove(offer_id)
        else:
            self._offers[offer_id].amount = amount

    def _settle(self, seller: address, cost: uint256) -> None:
        """The cost to the seller, the rest of what came back to the caller."""
        change: uint256 = self.msg.value - cost
        if cost > 0:
            self.send(seller, cost)
        if change > 0:
            self.send(self.msg.sender, change)
