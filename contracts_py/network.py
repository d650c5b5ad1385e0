"""Who keeps the ledger, and who changes that: members, permissions, votes, coming rules.

Genesis puts this contract at 0x0000000000000000000000000000000000001001. Nodes, and whoever
verifies without one, read its first nine slots without running it (`ledger/permissions.py`), so the
order of those fields is part of the protocol. A change holds from the next block on.

Every change is a proposal, done in the transaction of the vote that makes enough: a lone
administrator's at once. Votes are counted anew each time, so that of an account that has lost its
vote is gone, and never more are needed than there are voters.

A new validator is voted in as a candidate. It counts from its own `ready` transaction, with a block
that it has, so that an empty disk never stops a quorum.
"""

from ledger.contract import (
    ZERO_ADDRESS,
    Array,
    Contract,
    Event,
    Map,
    Revert,
    Struct,
    address,
    bytes32,
    indexed,
    uint8,
    uint16,
    uint32,
    uint64,
    uint256,
    view,
    write,
)

VALIDATORS_MAX = 100  # what nodes accept: votes of more do not fit a Pi's round timeout
CANDIDATES_MAX = 200  # a rotation for each, and as many new ones
ADMINISTRATORS_MAX = 32  # each vote counts those of all
READY_BLOCKS = 256  # how old a candidate's block may be
EXPIRY_S_MIN = 3_600  # or nobody has the time to vote
EXPIRY_S_MAX = 31_536_000
RULES_NOTICE_BLOCKS = 10  # the least notice of new rules, for the transaction itself to be final

ADD_VALIDATOR = 1
REMOVE_VALIDATOR = 2
SET_NODE = 3
SET_DEPLOYER = 4
SET_ACCOUNT = 5
SET_ADMINISTRATOR = 6
SET_ANYONE_DEPLOYS = 7
SET_ACCOUNTS_ONLY = 8
SET_OWNERS_UPGRADE = 12
SET_VOTING = 9
SCHEDULE_RULES = 10
UPGRADE = 11

IS_VALIDATOR = 1
IS_CANDIDATE = 2
IS_NODE = 4
IS_DEPLOYER = 8
IS_ACCOUNT = 16
IS_ADMINISTRATOR = 32


class Proposal(Struct):
    subject: address
    action: uint8
    done: bool
    expires: uint64
    number: uint64
    other: uint64
    digest: bytes32


class RulesChange(Struct):
    height: uint64
    version: uint32


class Proposed(Event):
    proposal: indexed[uint256]
    proposer: indexed[address]
    subject: indexed[address]
    action: uint8
    number: uint64
    other: uint64
    digest: bytes32
    expires: uint64


class Voted(Event):
    proposal: indexed[uint256]
    voter: indexed[address]
    approves: bool
    votes: uint16
    needed: uint16


class Done(Event):
    proposal: indexed[uint256]


class ValidatorAdded(Event):
    validator: indexed[address]


class ValidatorRemoved(Event):
    validator: indexed[address]


class CandidateAdded(Event):
    candidate: indexed[address]


class CandidateRemoved(Event):
    candidate: indexed[address]


class Ready(Event):
    candidate: indexed[address]
    height: uint64
    block_hash: bytes32


class KeyRotated(Event):
    old: indexed[address]
    new: indexed[address]


class FlagSet(Event):
    """`action` is one of the numbers SET_..."""

    action: indexed[uint8]
    subject: indexed[address]
    allowed: bool


class VotingSet(Event):
    validators_vote: bool
    votes_needed: uint16
    expiry_s: uint64


class RulesScheduled(Event):
    height: uint64
    version: uint32


class UpgradeApproved(Event):
    target: indexed[address]
    code_hash: bytes32


class NotVoter(Revert):
    caller: address


class ZeroAddress(Revert):
    """No key has the zero address."""


class AlreadyValidator(Revert):
    validator: address


class NotValidator(Revert):
    """Nor, for `rotate`, an allowed node."""

    account: address


class NotCandidate(Revert):
    """Not voted in, or the vote was taken back."""

    account: address


class NotRecent(Revert):
    """`ready` names a block of the last 256 before its own."""

    height: uint64


class TooMany(Revert):
    limit: uint256


class LastValidator(Revert):
    """Without one the ledger could never take another transaction."""

    validator: address


class LastAdministrator(Revert):
    """Where administrators vote, one has to stay."""

    administrator: address


class InvalidVoting(Revert):
    """No administrator to vote, or proposals that live under an hour or over a year."""


class InvalidRules(Revert):
    """Versions rise with heights, ten blocks ahead or more."""


class NoProposal(Revert):
    proposal: uint256


class Closed(Revert):
    proposal: uint256


class Network(Contract):
    """The members of the network, changed by the votes of its voters."""

    _validators: Array[address]
    _nodes: Map[address, bool]
    _deployers: Map[address, bool]
    _administrator: address
    _anyone_deploys: bool
    _accounts_only: bool
    _owners_upgrade: bool
    _accounts: Map[address, bool]
    _administrators: Array[address]
    _candidates: Array[address]
    _rules: Array[RulesChange]
    _upgrades: Map[address, bytes32]
    _replaces: Map[address, address]
    _proposals: Array[Proposal]
    _approvals: Map[tuple[uint256, address], bool]
    _named: Array[address]
    _is_named: Map[address, bool]
    _validators_vote: bool
    _votes_needed: uint16
    _expiry_s: uint64

    def __init__(
        self,
        validators: list[address],
        nodes: list[address],
        deployers: list[address],
        accounts: list[address],
        administrators: list[address],
        anyone_deploys: bool,
        accounts_only: bool,
        validators_vote: bool,
        votes_needed: uint16,
        expiry_s: uint64,
    ) -> None:
        for validator in validators:
            self._check_new_validator(validator)
            self._check_space()
            self._validators.append(validator)
            self._name(validator)
        for node in nodes:
            self._nodes[node] = True
            self._name(node)
        for deployer in deployers:
            self._deployers[deployer] = True
            self._name(deployer)
        for account in accounts:
            self._accounts[account] = True
            self._name(account)
        for administrator in administrators:
            self._set_administrator(administrator, True)
        self._anyone_deploys = anyone_deploys
        self._accounts_only = accounts_only
        self._check_voting(validators_vote, expiry_s)
        self._validators_vote = validators_vote
        self._votes_needed = votes_needed
        self._expiry_s = expiry_s

    # Who is a member.

    @view
    def validators(self) -> list[address]:
        members: list[address] = []
        for index in range(len(self._validators)):
            members.append(self._validators[index])
        return members

    @view
    def members(self, first: uint256, count: uint256) -> tuple[list[address], list[uint8]]:
        """Addresses ever named here, in order, and what each is now: the sum of 1 validator,
        2 candidate, 4 node, 8 deployer, 16 account that may transact, 32 administrator."""
        accounts: list[address] = []
        roles: list[uint8] = []
        last = first + count
        if last > len(self._named):
            last = len(self._named)
        for index in range(first, last):
            account = self._named[index]
            accounts.append(account)
            roles.append(self._roles_of(account))
        return accounts, roles

    @view
    def is_validator(self, account: address) -> bool:
        return self._find_validator(account) < len(self._validators)

    @view
    def is_node(self, account: address) -> bool:
        """Whether a node with this key may connect; validators always may."""
        return self._nodes[account] or self._find_validator(account) < len(self._validators)

    @view
    def is_deployer(self, account: address) -> bool:
        """Whether this account may create contracts."""
        return self._anyone_deploys or self._deployers[account]

    @view
    def administrator(self) -> address:
        return self._administrator

    @view
    def anyone_deploys(self) -> bool:
        return self._anyone_deploys

    @view
    def accounts_only(self) -> bool:
        """Whether only listed accounts may transact."""
        return self._accounts_only

    @view
    def voting(self) -> tuple[bool, uint16, uint16, uint16, uint64]:
        """Whether validators vote, the votes set (0: over half), voters now, votes needed now, and
        how many seconds a proposal lives."""
        voters, needed = self._count_voters(), self._count_needed()
        return self._validators_vote, self._votes_needed, voters, needed, self._expiry_s

    @view
    def proposal_count(self) -> uint256:
        return len(self._proposals)

    @view
    def proposal(self, number: uint256) -> tuple[Proposal, uint16]:
        """With the votes for it that count now."""
        self._check_proposal(number)
        return self._proposals[number], self._count_approvals(number)

    # Changes: each method proposes, and votes for it.

    @write
    def add_validator(self, validator: address) -> None:
        """Let a node become a validator: it may connect at once, and counts once it is ready."""
        self._propose_plain(ADD_VALIDATOR, validator, 0, 0)

    @write
    def remove_validator(self, validator: address) -> None:
        """Take a validator or candidate off; as a node it may stay."""
        self._propose_plain(REMOVE_VALIDATOR, validator, 0, 0)

    @write
    def set_node(self, node: address, allowed: bool) -> None:
        """Let a node connect, or turn it away."""
        self._propose_flag(SET_NODE, node, allowed)

    @write
    def set_deployer(self, deployer: address, allowed: bool) -> None:
        """Let an account create contracts, or no longer."""
        self._propose_flag(SET_DEPLOYER, deployer, allowed)

    @write
    def set_account(self, account: address, allowed: bool) -> None:
        """Let an account transact where only listed accounts do, or no longer."""
        self._propose_flag(SET_ACCOUNT, account, allowed)

    @write
    def set_administrator(self, administrator: address, allowed: bool) -> None:
        """Make an account an administrator, or one no longer."""
        self._propose_flag(SET_ADMINISTRATOR, administrator, allowed)

    @write
    def set_anyone_deploys(self, allowed: bool) -> None:
        """Let every account create contracts, or only those on the list."""
        self._propose_flag(SET_ANYONE_DEPLOYS, ZERO_ADDRESS, allowed)

    @write
    def set_accounts_only(self, only: bool) -> None:
        """Let only listed accounts transact, beside voters and validators; or everybody."""
        self._propose_flag(SET_ACCOUNTS_ONLY, ZERO_ADDRESS, only)

    @write
    def set_owners_upgrade(self, allowed: bool) -> None:
        """Let whoever owns a contract upgrade it without a vote."""
        self._propose_flag(SET_OWNERS_UPGRADE, ZERO_ADDRESS, allowed)

    @write
    def set_voting(self, validators_vote: bool, votes_needed: uint16, expiry_s: uint64) -> None:
        """Who votes, how many votes are needed (0: over half), how long proposals live."""
        number = votes_needed * 2 + (1 if validators_vote else 0)
        self._propose_plain(SET_VOTING, ZERO_ADDRESS, number, expiry_s)

    @write
    def schedule_rules(self, height: uint64, version: uint32) -> None:
        """Let a version of the rules hold from a height on. Nodes without it halt before it."""
        self._propose_plain(SCHEDULE_RULES, ZERO_ADDRESS, height, version)

    @write
    def upgrade(self, target: address, code_hash: bytes32) -> None:
        """Approve the source with this keccak256 to replace that of the contract at `target`."""
        self._propose(UPGRADE, target, 0, 0, code_hash)

    @write
    def vote(self, number: uint256, approves: bool) -> None:
        """Vote for a proposal, or take that back. Voting once more counts all votes anew."""
        self._check_voter()
        self._check_proposal(number)
        self._vote(number, approves)

    @write
    def ready(self, height: uint64, block_hash: bytes32) -> None:
        """Sent by a candidate once it follows the chain: from here on it counts."""
        candidate = self.msg.sender
        index = self._find(candidate)
        if index >= len(self._candidates):
            raise NotCandidate(candidate)
        if height >= self.block.number or height + READY_BLOCKS < self.block.number:
            raise NotRecent(height)
        old = self._replaces[candidate]
        self._drop_candidate(index)
        self.emit(Ready(candidate, height, block_hash))
        if old == ZERO_ADDRESS:
            self._check_space()
            self._validators.append(candidate)
        else:
            place = self._find_validator(old)
            if place == len(self._validators):
                raise NotCandidate(candidate)
            self._validators[place] = candidate
            self._nodes[old] = False
            self.emit(ValidatorRemoved(old))
        self.emit(ValidatorAdded(candidate))

    @write
    def rotate(self, key: address) -> None:
        """Hand the caller's place to its new key: a validator's once that is ready."""
        old = self.msg.sender
        self._check_new_validator(key)
        if self._find_validator(old) < len(self._validators):
            self._drop_replacement(old)
            self._add_candidate(key)
            self._replaces[key] = old
        elif self._nodes[old]:
            self._nodes[old] = False
            self._nodes[key] = True
            self._name(key)
        else:
            raise NotValidator(old)
        self.emit(KeyRotated(old, key))

    # Votes.

    def _propose(
        self, action: uint8, subject: address, number: uint64, other: uint64, digest: bytes32
    ) -> None:
        self._check_voter()
        self._check(action, subject, number, other)
        expires = self.block.timestamp + self._expiry_s
        index = len(self._proposals)
        self._proposals.append(Proposal(subject, action, False, expires, number, other, digest))
        sender = self.msg.sender
        self.emit(Proposed(index, sender, subject, action, number, other, digest, expires))
        self._vote(index, True)

    def _propose_plain(
        self, action: uint8, subject: address, number: uint64, other: uint64
    ) -> None:
        nothing: bytes32 = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        self._propose(action, subject, number, other, nothing)

    def _propose_flag(self, action: uint8, subject: address, allowed: bool) -> None:
        self._propose_plain(action, subject, 1 if allowed else 0, 0)

    def _vote(self, index: uint256, approves: bool) -> None:
        proposal = self._proposals[index]
        if proposal.done or proposal.expires < self.block.timestamp:
            raise Closed(index)
        self._approvals[index, self.msg.sender] = approves
        votes = self._count_approvals(index)
        needed = self._count_needed()
        self.emit(Voted(index, self.msg.sender, approves, votes, needed))
        if votes >= needed:
            self._check(proposal.action, proposal.subject, proposal.number, proposal.other)
            self._apply(index)
            self.emit(Done(index))

    def _check_voter(self) -> None:
        if not self._is_voter(self.msg.sender):
            raise NotVoter(self.msg.sender)

    def _check_proposal(self, number: uint256) -> None:
        if number >= len(self._proposals):
            raise NoProposal(number)

    def _is_voter(self, account: address) -> bool:
        if self._validators_vote:
            return self._find_validator(account) < len(self._validators)
        return self._find_administrator(account) < len(self._administrators)

    def _count_voters(self) -> uint16:
        return len(self._validators) if self._validators_vote else len(self._administrators)

    def _count_needed(self) -> uint16:
        voters = self._count_voters()
        needed = self._votes_needed
        if needed == 0:
            return voters // 2 + 1
        return needed if needed < voters else voters

    def _count_approvals(self, index: uint256) -> uint16:
        """Of those who vote now."""
        votes = 0
        for place in range(self._count_voters()):
            voter = (
                self._validators[place] if self._validators_vote else self._administrators[place]
            )
            if self._approvals[index, voter]:
                votes += 1
        return votes

    # What a proposal does, checked when it is made and again when it is done.

    def _check(self, action: uint8, subject: address, number: uint64, other: uint64) -> None:
        if action <= SET_ADMINISTRATOR or action == UPGRADE:
            if subject == ZERO_ADDRESS:
                raise ZeroAddress()
        if action == ADD_VALIDATOR:
            self._check_new_validator(subject)
        elif action == REMOVE_VALIDATOR:
            self._check_removal(subject)
        elif action == SET_ADMINISTRATOR:
            self._check_administrator(subject, number != 0)
        elif action == SET_VOTING:
            self._check_voting(number % 2 == 1, other)
        elif action == SCHEDULE_RULES:
            count = len(self._rules)
            if number < self.block.number + RULES_NOTICE_BLOCKS or other < 2:
                raise InvalidRules()
            if count > 0:
                last = self._rules[count - 1]
                if number <= last.height or other <= last.version:
                    raise InvalidRules()

    def _apply(self, index: uint256) -> None:
        proposal = self._proposals[index]
        action = proposal.action
        subject = proposal.subject
        number = proposal.number
        other = proposal.other
        digest = proposal.digest
        done = Proposal(subject, action, True, proposal.expires, number, other, digest)
        self._proposals[index] = done
        if action == ADD_VALIDATOR:
            self._add_candidate(subject)
        elif action == REMOVE_VALIDATOR:
            self._remove_validator(subject)
        elif action == SET_VOTING:
            self._validators_vote = number % 2 == 1
            self._votes_needed = number // 2
            self._expiry_s = other
            self.emit(VotingSet(number % 2 == 1, number // 2, other))
        elif action == SCHEDULE_RULES:
            self._rules.append(RulesChange(number, other))
            self.emit(RulesScheduled(number, other))
        elif action == UPGRADE:
            self._upgrades[subject] = digest
            self.emit(UpgradeApproved(subject, digest))
        else:
            self._set_flag(action, subject, number != 0)

    def _set_flag(self, action: uint8, subject: address, allowed: bool) -> None:
        if action == SET_NODE:
            self._nodes[subject] = allowed
        elif action == SET_DEPLOYER:
            self._deployers[subject] = allowed
        elif action == SET_ACCOUNT:
            self._accounts[subject] = allowed
        elif action == SET_ADMINISTRATOR:
            self._set_administrator(subject, allowed)
        elif action == SET_ANYONE_DEPLOYS:
            self._anyone_deploys = allowed
        elif action == SET_ACCOUNTS_ONLY:
            self._accounts_only = allowed
        else:
            self._owners_upgrade = allowed
        if subject != ZERO_ADDRESS:
            self._name(subject)
        self.emit(FlagSet(action, subject, allowed))

    # Validators and candidates.

    def _check_new_validator(self, validator: address) -> None:
        count = len(self._validators)
        if validator == ZERO_ADDRESS:
            raise ZeroAddress()
        if self._find_validator(validator) < count or self._find(validator) < len(self._candidates):
            raise AlreadyValidator(validator)

    def _check_space(self) -> None:
        if len(self._validators) >= VALIDATORS_MAX:
            raise TooMany(VALIDATORS_MAX)

    def _check_removal(self, validator: address) -> None:
        if self._find(validator) < len(self._candidates):
            return
        if self._find_validator(validator) >= len(self._validators):
            raise NotValidator(validator)
        if len(self._validators) == 1:
            raise LastValidator(validator)

    def _add_candidate(self, candidate: address) -> None:
        if len(self._candidates) >= CANDIDATES_MAX:
            raise TooMany(CANDIDATES_MAX)
        self._candidates.append(candidate)
        self._nodes[candidate] = True
        self._name(candidate)
        self.emit(CandidateAdded(candidate))

    def _remove_validator(self, validator: address) -> None:
        candidate = self._find(validator)
        if candidate < len(self._candidates):
            self._drop_candidate(candidate)
            self.emit(CandidateRemoved(validator))
            return
        self._drop_replacement(validator)
        index = self._find_validator(validator)
        last = len(self._validators) - 1
        self._validators[index] = self._validators[last]
        self._validators.pop()
        self.emit(ValidatorRemoved(validator))

    def _drop_replacement(self, old: address) -> None:
        for index in range(len(self._candidates)):
            candidate = self._candidates[index]
            if self._replaces[candidate] == old:
                self._drop_candidate(index)
                self.emit(CandidateRemoved(candidate))
                return

    def _drop_candidate(self, index: uint256) -> None:
        self._replaces.remove(self._candidates[index])
        last = len(self._candidates) - 1
        self._candidates[index] = self._candidates[last]
        self._candidates.pop()

    def _find_validator(self, account: address) -> uint256:
        """Its index, or the length of the list."""
        count = len(self._validators)
        for index in range(count):
            if self._validators[index] == account:
                return index
        return count

    def _find(self, candidate: address) -> uint256:
        """Its index among the candidates, or their number."""
        count = len(self._candidates)
        for index in range(count):
            if self._candidates[index] == candidate:
                return index
        return count

    def _check_administrator(self, administrator: address, allowed: bool) -> None:
        if not allowed and not self._validators_vote and len(self._administrators) == 1:
            if self._administrators[0] == administrator:
                raise LastAdministrator(administrator)

    def _set_administrator(self, administrator: address, allowed: bool) -> None:
        if administrator == ZERO_ADDRESS:
            raise ZeroAddress()
        count = len(self._administrators)
        index = self._find_administrator(administrator)
        if allowed and index >= count:
            if count >= ADMINISTRATORS_MAX:
                raise TooMany(ADMINISTRATORS_MAX)
            self._administrators.append(administrator)
            self._name(administrator)
        elif not allowed and index < count:
            self._administrators[index] = self._administrators[count - 1]
            self._administrators.pop()
        left = len(self._administrators)
        self._administrator = self._administrators[0] if left > 0 else ZERO_ADDRESS

    def _find_administrator(self, account: address) -> uint256:
        """Its index, or the length of the list."""
        count = len(self._administrators)
        for index in range(count):
            if self._administrators[index] == account:
                return index
        return count

    def _check_voting(self, validators_vote: bool, expiry_s: uint64) -> None:
        if not validators_vote and len(self._administrators) == 0:
            raise InvalidVoting()
        if expiry_s < EXPIRY_S_MIN or expiry_s > EXPIRY_S_MAX:
            raise InvalidVoting()

    # The list of all who were ever named.

    def _name(self, account: address) -> None:
        if not self._is_named[account]:
            self._is_named[account] = True
            self._named.append(account)

    def _roles_of(self, account: address) -> uint8:
        roles = 0
        if self._find_validator(account) < len(self._validators):
            roles += IS_VALIDATOR
        if self._find(account) < len(self._candidates):
            roles += IS_CANDIDATE
        if self._nodes[account]:
            roles += IS_NODE
        if self._deployers[account]:
            roles += IS_DEPLOYER
        if self._accounts[account]:
            roles += IS_ACCOUNT
        if self._find_administrator(account) < len(self._administrators):
            roles += IS_ADMINISTRATOR
        return roles
