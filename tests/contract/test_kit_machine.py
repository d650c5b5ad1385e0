"""The state machine base: an honest contract passes, each kind of mistake is found."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from ledger.contract.testing import ContractPanic, make_account
from ledger.contract.testing.machine import WEI_EACH, ContractMachine

JAR = Path(__file__).parent / "kit" / "jar.py"
QUICK = settings(max_examples=8, stateful_step_count=12)
ACCOUNTS = ("owner", "alice")
names = st.sampled_from(ACCOUNTS)


class JarMachine(ContractMachine):
    contract = JAR
    arguments = ("pickles",)
    accounts = ACCOUNTS

    def start(self):
        self.total = 0
        self.given = {}
        self.seen = {}
        self.notes = []

    @rule(amount=st.integers(0, 200), who=names)
    def put(self, amount, who):
        receipt = self.attempt("put", amount, sender=who)
        assert (receipt is None) == (amount > 100)
        if receipt:
            account = make_account(who)
            self.total += amount
            self.given[account] = self.given.get(account, 0) + amount

    @rule(wei=st.integers(0, 50), who=names)
    def pay(self, wei, who):
        assert self.attempt("pay", sender=who, value=wei)
        self.total += wei

    @rule(number=st.integers(0, 3), amount=st.integers(0, 2**64 - 1), who=names)
    def note(self, number, amount, who):
        account = make_account(who)
        assert self.attempt("note", number, amount, sender=who)
        self.seen.setdefault(account, {})[number] = amount
        self.notes.append((amount, account))

    def model(self):
        owner = make_account("owner")
        return {
            "keepers": {owner},
            "_owner": owner,
            "names": {owner: "pickles"},
            "total": self.total,
            "given": self.given,
            "seen": self.seen,
            "notes": self.notes,
            "last": self.notes[-1] if self.notes else (0, bytes(20)),
        }


class TestJar(JarMachine.TestCase):
    settings = QUICK


def test_a_word_too_many_or_too_few_is_found():
    class Leaking(JarMachine):
        @rule(amount=st.integers(1, 9))
        def leak(self, amount):
            assert self.attempt("leak", amount, sender="owner")

    with pytest.raises(AssertionError, match=r"slot 0x0+2: 0x\d+, by the model 0x0"):
        run_state_machine_as_test(Leaking, settings=QUICK)


def test_coin_out_of_nothing_is_found():
    class Minting(JarMachine):
        @rule()
        def mint(self):
            self.chain.state.add_balance(make_account("alice"), 1)

    with pytest.raises(AssertionError, match=f"{2 * WEI_EACH + 1} wei are there"):
        run_state_machine_as_test(Minting, settings=QUICK)


def test_a_panic_is_never_taken_for_a_refusal():
    machine = JarMachine()
    with pytest.raises(ContractPanic):
        machine.attempt("pay", sender="alice") and machine.attempt("share", 0)
    assert machine.attempt("put", 101, sender="alice") is None
    assert type(machine.failure).__name__ == "TooMuch"
    assert machine.attempt("leak", 1, sender="alice") is None
    assert type(machine.failure).__name__ == "Unauthorized"


def test_a_model_names_fields_that_are_there():
    class Wrong(JarMachine):
        def model(self):
            return {"nothing": 1}

    with pytest.raises(ValueError, match="no field nothing; there are: keepers"):
        run_state_machine_as_test(Wrong, settings=QUICK)


TOKEN = """
from ledger.contract import Contract, Map, address, uint256, view, write

class Token(Contract):
    supply: uint256
    owned: Map[address, uint256]

    @view
    def total_supply(self) -> uint256:
        return self.supply

    @view
    def balance_of(self, account: address) -> uint256:
        return self.owned[account]

    @write
    def mint(self, amount: uint256, honest: bool) -> None:
        self.owned[self.msg.sender] += amount
        if honest:
            self.supply += amount
"""


@pytest.mark.parametrize("honest", [True, False])
def test_tokens_are_counted(tmp_path, honest):
    path = tmp_path / "token.py"
    path.write_text(TOKEN)

    class Minting(ContractMachine):
        contract = path

        @rule(amount=st.integers(1, 9), who=st.sampled_from(("owner", "alice", "bob")))
        def mint(self, amount, who):
            assert self.attempt("mint", amount, honest, sender=who)

    if honest:
        run_state_machine_as_test(Minting, settings=QUICK)
    else:
        with pytest.raises(AssertionError, match="the total supply is 0"):
            run_state_machine_as_test(Minting, settings=QUICK)
