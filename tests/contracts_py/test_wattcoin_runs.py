"""Any run of the coin: tokens are conserved, and what was used is paid, owed or forgiven."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from contracts_py.wattcoin import NOTICE_S, Used, Wattcoin
from ledger.contract.testing import make_account
from ledger.contract.testing.machine import ContractMachine

OWNER, SUPPLIER, HOUSE, NEIGHBOUR, OTHER, METER = map(
    make_account, ("owner", "supplier", "house", "neighbour", "other", "meter")
)


class Neighbourhood(ContractMachine):
    """Any run: tokens and coin are conserved, and what was used is paid or owed."""

    contract = Wattcoin
    arguments = ("Wattcoin", "WATT")
    accounts = ("owner", "supplier", "house", "neighbour")

    def start(self):
        coin = self.deployed
        coin.set_supplier(SUPPLIER, 1, 1_000, True, sender=OWNER)
        for account in (HOUSE, NEIGHBOUR):
            coin.choose_supplier(SUPPLIER, sender=account)
        coin.enrol(METER, HOUSE, sender=OWNER)
        self.used = self.settled = self.forgiven = self.offers = 0
        self.rate, self.rise, self.rises_at = 1, 0, 0

    @rule(amount=st.integers(0, 500))
    def issue(self, amount):
        assert self.attempt("issue", amount, sender=SUPPLIER)

    @rule(amount=st.integers(0, 500), account=st.sampled_from([HOUSE, NEIGHBOUR]))
    def buy(self, amount, account):
        there = self.deployed.balance_of(SUPPLIER)
        if self.attempt("buy", amount, value=3, sender=account):
            assert self.deployed.balance_of(SUPPLIER) == there - amount

    @rule(amount=st.integers(0, 300), account=st.sampled_from([HOUSE, NEIGHBOUR]))
    def offer(self, amount, account):
        self.offers += bool(self.attempt("offer", amount, 10**17, sender=account))

    @rule(number=st.integers(0, 4), amount=st.integers(0, 300))
    def accept(self, number, amount):
        there = self.deployed.offer_of(number).amount
        done = self.attempt("accept", number, amount, value=40, sender=NEIGHBOUR)
        assert self.deployed.offer_of(number).amount == there - amount * bool(done)

    @rule(number=st.integers(0, 4), account=st.sampled_from([HOUSE, NEIGHBOUR]))
    def cancel(self, number, account):
        is_own = self.deployed.offer_of(number).seller == account
        done = self.attempt("cancel", number, sender=account)
        assert (done is not None) == is_own

    @rule(usage=st.integers(0, 200))
    def exhaust(self, usage):
        receipt = self.attempt("exhaust", usage, sender=METER)
        assert receipt, self.failure
        self.used += usage * self.rate
        self.settled += next(e.paid for e in receipt.events if isinstance(e, Used))

    @rule(rate=st.integers(0, 4))
    def set_rate(self, rate):
        """In units for a watt-hour; a rise comes after its notice."""
        self.deployed.set_supplier(SUPPLIER, 1, 1_000 * rate, True, sender=SUPPLIER)
        if rate <= self.rate:
            self.rate, self.rise = rate, 0
        elif rate != self.rise:
            self.rise, self.rises_at = rate, self.chain.timestamp + NOTICE_S

    @rule(seconds=st.sampled_from([1, NOTICE_S // 2, NOTICE_S]))
    def wait(self, seconds):
        self.chain.travel(seconds)
        if self.rise and self.chain.timestamp >= self.rises_at:
            self.rate, self.rise = self.rise, 0

    @rule(amount=st.integers(0, 200))
    def pay(self, amount):
        if receipt := self.attempt("pay_debt", HOUSE, amount, sender=NEIGHBOUR):
            self.settled += receipt.events[-1].amount

    @rule(amount=st.integers(0, 200))
    def forgive(self, amount):
        if receipt := self.attempt("forgive", HOUSE, amount, sender=SUPPLIER):
            self.forgiven += receipt.events[-1].amount

    @rule(
        call=st.sampled_from([
            ("set_supplier", SUPPLIER, 1, 1, True), ("set_supplier", HOUSE, 1, 1, True),
            ("issue", 1), ("redeem", 1), ("enrol", OTHER, HOUSE), ("retire", METER),
            ("exhaust", 1), ("forgive", HOUSE, 1), ("transfer_from", SUPPLIER, OTHER, 1),
        ]),
        who=st.sampled_from([HOUSE, NEIGHBOUR, OTHER]),
    )  # fmt: skip
    def trespass(self, call, who):
        assert self.attempt(*call, sender=who) is None

    @invariant()
    def use_is_paid_or_owed(self):
        coin = self.deployed
        assert self.used == self.settled + self.forgiven + coin.debt_of(HOUSE)
        assert coin.supplier(SUPPLIER).rate == 1_000 * self.rate
        offered = sum(coin.offer_of(number).amount for number in range(1, self.offers + 1))
        assert coin.balance_of(coin.address) == offered
        assert self.chain.balance(coin.address) == 0


class TestNeighbourhood(Neighbourhood.TestCase):
    settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
