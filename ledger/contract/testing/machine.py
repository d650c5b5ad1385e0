"""A state machine for hypothesis around one contract, with invariants that are always the same.

    class JarMachine(ContractMachine):
        contract = Jar
        accounts = ("owner", "alice", "bob")

        def start(self):
            self.given = {}

        @rule(amount=integers(0, 100), who=names)
        def put(self, amount, who):
            if self.attempt("put", amount, sender=who):
                self.given[make_account(who)] = self.given.get(make_account(who), 0) + amount

        def model(self):
            return {"_owner": make_account("owner"), "_given": self.given}

    TestJar = JarMachine.TestCase

After each rule: no native coin came from or went to nowhere; where the contract is a token, the
balances of those who took part make its total supply; and every word of storage is what `model`
says, no more and no less. Needs hypothesis (pip install hypothesis).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from ledger.contract.api import Revert
from ledger.contract.testing.accounts import make_account
from ledger.contract.testing.chain import Chain, MemoryState
from ledger.contract.testing.deployed import CallReceipt, Deployed
from ledger.contract.testing.failures import CallRefused, ContractOutOfGas, ContractPanic
from ledger.contract.testing.storage_view import write_model

WEI_EACH = 10**21
"""What each account of a machine has at first: a thousand coins."""


class ContractMachine(RuleBasedStateMachine):
    """Subclass it, name the contract, add rules; `deployed` is the contract under test."""

    contract: ClassVar[type | Path | str]
    arguments: ClassVar[tuple[Any, ...]] = ()
    """Of the constructor."""
    accounts: ClassVar[tuple[str, ...]] = ("owner", "alice", "bob")
    """Who takes part, by name; the first one deploys."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = Chain()
        self.failure: Exception | None = None
        """What the last `attempt` that failed raised."""
        for name in self.accounts:
            self.chain.account(name, WEI_EACH)
        self.deployed: Deployed = self.chain.deploy(
            self.contract, *self.arguments, sender=self.accounts[0]
        )
        self.start()

    def start(self) -> None:
        """Called once the contract stands: what a model begins with."""

    def model(self) -> Mapping[str, Any] | None:
        """What storage should hold now, by field: maps as dicts, arrays as lists, roles as sets.

        What is left out should be zero. None where there is no model.
        """
        return None

    def attempt(self, method: str, *arguments: Any, **options: Any) -> CallReceipt | None:
        """Call a write; None where it reverts. Then `failure` says how: a declared Revert or a
        call refused. A panic or out of gas is the contract's bug and fails the test."""
        __tracebackhide__ = True
        try:
            receipt: CallReceipt = getattr(self.deployed, method)(*arguments, **options)
        except (ContractPanic, ContractOutOfGas):
            raise
        except (Revert, CallRefused) as failure:
            self.failure = failure
            return None
        return receipt

    @invariant()
    def money_is_conserved(self) -> None:
        """What all accounts own together is what they were given."""
        there = self.chain.state.sum_balances()
        assert there == self.chain.funded_wei, (
            f"{there} wei are there, {self.chain.funded_wei} were"
        )

    @invariant()
    def tokens_are_conserved(self) -> None:
        """Of a token (balance_of, total_supply): who took part owns all of it together."""
        methods = self.deployed.method_names
        if "balance_of" in methods and "total_supply" in methods:
            owners = [*map(make_account, self.accounts), *self.chain.contracts, bytes(20)]
            owned = sum(self.deployed.balance_of(owner) for owner in owners)
            supply = self.deployed.total_supply()
            assert owned == supply, f"{owned} tokens are owned, the total supply is {supply}"

    @invariant()
    def storage_equals_the_model(self) -> None:
        """Every word of storage is what the model says, and there is no other."""
        fields = self.model()
        if fields is None:
            return
        deployed = self.deployed
        expected = MemoryState()
        write_model(expected, deployed.address, deployed._program, fields)
        wanted = expected.list_words(deployed.address)
        found = self.chain.state.list_words(deployed.address)
        wrong = [
            f"slot 0x{slot.hex()}: 0x{found.get(slot, 0):x}, by the model 0x{wanted.get(slot, 0):x}"
            for slot in sorted(wanted.keys() | found.keys())
            if wanted.get(slot) != found.get(slot)
        ]
        assert not wrong, "storage differs from the model:\n" + "\n".join(wrong)
