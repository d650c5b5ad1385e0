"""Any run of the market by advert: energy and coin are always somewhere."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from contracts_py.microgrid import Microgrid, Stage
from ledger.contract.testing import make_account
from ledger.contract.testing.machine import ContractMachine

HOUR_S = 3_600
DELIVERY_S = 6 * HOUR_S
OWNER, REGULATOR, PRODUCER, CONSUMER = map(
    make_account, ("owner", "regulator", "producer", "consumer")
)
NOBODY = bytes(20)


class Market(ContractMachine):
    """Any run: coin is conserved, and energy too: what was stored is in a store, an advert, an
    open purchase, or delivered."""

    contract = Microgrid
    arguments = (900, DELIVERY_S, NOBODY, NOBODY)
    accounts = ("owner", "regulator", "producer", "consumer")

    def start(self):
        grid = self.deployed
        grid.add_regulator(REGULATOR, sender=OWNER)
        grid.add_producer(PRODUCER, "", sender=REGULATOR)
        grid.add_consumer(CONSUMER, "", sender=REGULATOR)
        grid.set_capacity(PRODUCER, 20_000, sender=REGULATOR)
        self.stored = 0
        self.bought = []
        self.times = []

    @rule(energy=st.integers(0, 9_000))
    def store(self, energy):
        done = self.attempt("store_energy", energy, sender=PRODUCER)
        if done:
            self.stored += energy
        else:
            assert type(self.failure).__name__ == "CapacityExceeded"

    @rule(energy=st.integers(0, 5_000), price=st.integers(0, 99))
    def advertise(self, energy, price):
        there = self.deployed.store_of(PRODUCER).stored_wh
        if self.attempt("available_energy_advert", energy, price, sender=PRODUCER):
            assert 0 < energy <= there and price
            self.times.append(self.chain.timestamp)

    @rule(energy=st.integers(0, 3_000), proposed=st.integers(0, 150), data=st.data())
    def request(self, energy, proposed, data):
        if self.times:
            time = data.draw(st.sampled_from(self.times))
            if self.attempt("request_for_energy", energy, time, proposed, PRODUCER,
                            value=1_000, sender=CONSUMER):  # fmt: skip
                assert self.chain.timestamp < time + 3 * HOUR_S
                self.bought.append(energy)

    @rule(number=st.integers(0, 9), method=st.sampled_from(["confirm_delivery", "refund"]))
    def end(self, number, method):
        done = self.attempt(method, number, sender=REGULATOR)
        assert not done or self.deployed.purchase(number).stage != Stage.PAID

    @rule(seconds=st.integers(1, 2 * HOUR_S))
    def wait(self, seconds):
        self.chain.timestamp += seconds

    @rule()
    def tax(self):
        assert self.attempt("withdraw_tax", sender=OWNER)
        assert self.deployed.tax() == 0

    @invariant()
    def energy_and_money_are_somewhere(self):
        grid = self.deployed
        there = grid.store_of(PRODUCER).stored_wh
        there += sum(grid.advert(PRODUCER, time)[0] for time in grid.adverts_of(PRODUCER))
        held = 0
        for number, energy in enumerate(self.bought):
            purchase = grid.purchase(number)
            assert purchase.energy_wh == energy
            if purchase.stage != Stage.REFUNDED:
                there += energy
            held += purchase.total * (purchase.stage == Stage.PAID)
        assert there <= self.stored  # what comes back to a store that is full is lost
        assert there == self.stored or grid.store_of(PRODUCER).stored_wh <= 20_000
        assert self.chain.balance(grid.address) == held + grid.tax()


class TestMarket(Market.TestCase):
    settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
