"""Any run of proposals, votes, rotations and waiting, against a model of dicts and sets."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contracts_py import network as source
from ledger import permissions
from ledger.contract.api import Revert
from ledger.contract.testing import make_account
from tests.contracts_py.test_network import BLOCK_HASH, DAY_S, AtItsAddress, deploy

PEOPLE = [make_account(f"person {index}") for index in range(6)]
ACCOUNTS = st.sampled_from(PEOPLE)
KINDS = {
    source.ADD_VALIDATOR: "add_validator",
    source.REMOVE_VALIDATOR: "remove_validator",
    source.SET_NODE: "set_node",
    source.SET_ADMINISTRATOR: "set_administrator",
}


class AnyRun(RuleBasedStateMachine):
    """Two validators, of whom one is an administrator too, and four others."""

    def __init__(self) -> None:
        super().__init__()
        self.chain, self.network = deploy(PEOPLE[:2], PEOPLE[1:3])
        self.stored = AtItsAddress(self.chain, self.network)
        self.validators, self.candidates = set(PEOPLE[:2]), {}
        self.administrators = set(PEOPLE[1:3])
        self.nodes: set[bytes] = set()
        self.validators_vote, self.needed = False, 0
        self.proposals: list[dict] = []

    def voters(self) -> set[bytes]:
        return self.validators if self.validators_vote else self.administrators

    def votes_needed(self) -> int:
        count = len(self.voters())
        return count // 2 + 1 if self.needed == 0 else min(self.needed, count)

    def allowed(self, kind: int, subject: bytes, value: tuple) -> bool:
        """Whether the model would do this now."""
        if kind == source.ADD_VALIDATOR:
            return subject not in self.validators and subject not in self.candidates
        if kind == source.REMOVE_VALIDATOR:
            known = subject in self.candidates
            return known or (subject in self.validators and len(self.validators) > 1)
        if kind == source.SET_ADMINISTRATOR and not value[0] and not self.validators_vote:
            return self.administrators != {subject}
        if kind == source.SET_VOTING:
            return value[0] or bool(self.administrators)
        return True

    def do(self, kind: int, subject: bytes, value: tuple) -> None:
        if kind == source.ADD_VALIDATOR:
            self.candidates[subject] = None
            self.nodes.add(subject)
        elif kind == source.REMOVE_VALIDATOR:
            if subject in self.candidates:
                del self.candidates[subject]
            else:
                self.validators.discard(subject)
                self.candidates = {key: of for key, of in self.candidates.items() if of != subject}
        elif kind == source.SET_NODE:
            (self.nodes.add if value[0] else self.nodes.discard)(subject)
        elif kind == source.SET_ADMINISTRATOR:
            (self.administrators.add if value[0] else self.administrators.discard)(subject)
        else:
            self.validators_vote, self.needed = value

    def settle(self, proposal: dict) -> bool:
        """Do what has votes enough; False where the contract has to refuse the vote instead."""
        if len(proposal["yes"] & self.voters()) < self.votes_needed():
            return True
        if not self.allowed(proposal["kind"], proposal["subject"], proposal["value"]):
            return False
        self.do(proposal["kind"], proposal["subject"], proposal["value"])
        proposal["done"] = True
        return True

    def attempt(self, method, *arguments, sender: bytes) -> bool:
        """Whether the contract does it."""
        try:
            method(*arguments, sender=sender)
        except Revert:
            return False
        return True

    @rule(who=ACCOUNTS, subject=ACCOUNTS, kind=st.sampled_from(list(KINDS)), flag=st.booleans())
    def propose(self, who: bytes, subject: bytes, kind: int, flag: bool) -> None:
        takes_flag = kind in (source.SET_NODE, source.SET_ADMINISTRATOR)
        value = (flag,) if takes_flag else ()
        expected = self._propose(who, kind, subject, value)
        method = getattr(self.network, KINDS[kind])
        assert self.attempt(method, subject, *value, sender=who) == expected

    @rule(who=ACCOUNTS, validators=st.booleans(), needed=st.integers(0, 4))
    def propose_voting(self, who: bytes, validators: bool, needed: int) -> None:
        expected = self._propose(who, source.SET_VOTING, bytes(20), (validators, needed))
        method = self.network.set_voting
        assert self.attempt(method, validators, needed, DAY_S, sender=who) == expected

    def _propose(self, who: bytes, kind: int, subject: bytes, value: tuple) -> bool:
        """By the model; whether it takes the proposal."""
        if who not in self.voters() or not self.allowed(kind, subject, value):
            return False
        proposal = {"kind": kind, "subject": subject, "value": value, "yes": {who},
                    "done": False, "expires": self.chain.timestamp + DAY_S}  # fmt: skip
        self.proposals.append(proposal)
        assert self.settle(proposal)
        return True

    @precondition(lambda self: self.proposals)
    @rule(who=ACCOUNTS, approves=st.booleans(), back=st.integers(1, 4))
    def vote(self, who: bytes, approves: bool, back: int) -> None:
        number = max(0, len(self.proposals) - back)
        proposal = self.proposals[number]
        before = set(proposal["yes"])
        is_open = not proposal["done"] and proposal["expires"] >= self.chain.timestamp
        expected = who in self.voters() and is_open
        if expected:
            (proposal["yes"].add if approves else proposal["yes"].discard)(who)
            expected = self.settle(proposal)
            if not expected:
                proposal["yes"] = before
        assert self.attempt(self.network.vote, number, approves, sender=who) == expected

    @rule(who=ACCOUNTS)
    def say_ready(self, who: bytes) -> None:
        old = self.candidates.get(who)
        expected = who in self.candidates
        block = (self.chain.number - 1, BLOCK_HASH)
        assert self.attempt(self.network.ready, *block, sender=who) == expected
        if expected:
            del self.candidates[who]
            self.validators.add(who)
            if old is not None:
                self.validators.remove(old)
                self.nodes.discard(old)

    @rule(old=ACCOUNTS, new=ACCOUNTS)
    def rotate(self, old: bytes, new: bytes) -> None:
        free = new not in self.validators and new not in self.candidates
        expected = free and (old in self.validators or old in self.nodes)
        assert self.attempt(self.network.rotate, new, sender=old) == expected
        if expected and old in self.validators:
            self.candidates = {key: of for key, of in self.candidates.items() if of != old}
            self.candidates[new] = old
            self.nodes.add(new)
        elif expected:
            self.nodes.discard(old)
            self.nodes.add(new)

    @rule(seconds=st.sampled_from([1, DAY_S]))
    def wait(self, seconds: int) -> None:
        self.chain.timestamp += seconds
        self.chain.number += 1

    @invariant()
    def nodes_find_what_the_model_has(self) -> None:
        assert permissions.read_validators(self.stored) == tuple(sorted(self.validators))
        assert set(permissions.read_candidates(self.stored)) == set(self.candidates)
        for who in PEOPLE:
            assert self.network.is_validator(who) == (who in self.validators)
            allowed = who in self.nodes or who in self.validators
            assert permissions.may_connect(self.stored, who) == allowed

    @invariant()
    def somebody_can_always_change_something(self) -> None:
        validators_vote, set_to, voters, needed, _ = self.network.voting()
        assert (validators_vote, set_to) == (self.validators_vote, self.needed)
        assert voters == len(self.voters())
        assert 1 <= needed == self.votes_needed() <= voters


AnyRun.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestAnyRun = AnyRun.TestCase
