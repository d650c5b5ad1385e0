"""The network's members: who may change them, by how many votes, and that nodes find them."""

import pytest

from contracts_py import network as source
from contracts_py.network import (
    AlreadyValidator,
    CandidateAdded,
    CandidateRemoved,
    Closed,
    Done,
    FlagSet,
    InvalidRules,
    InvalidVoting,
    KeyRotated,
    LastAdministrator,
    LastValidator,
    Network,
    NoProposal,
    NotCandidate,
    NotRecent,
    NotValidator,
    NotVoter,
    Proposed,
    Ready,
    RulesScheduled,
    TooMany,
    UpgradeApproved,
    ValidatorAdded,
    ValidatorRemoved,
    Voted,
    VotingSet,
    ZeroAddress,
)
from ledger import permissions
from ledger.contract.testing import Chain, make_account
from ledger.crypto.address import ZERO_ADDRESS

ADMIN, STRANGER, NODE, DEPLOYER, METER = map(
    make_account, ("admin", "stranger", "node", "deployer", "meter")
)
SECOND, THIRD = make_account("second admin"), make_account("third admin")
VALIDATORS = [make_account(f"validator {index}") for index in range(4)]
DAY_S = 86_400
BLOCK_HASH = b"\x11" * 32
NOTHING = bytes(32)


class AtItsAddress:
    """The contract's storage as the node would find it at the fixed address."""

    def __init__(self, chain, network):
        self.chain, self.network = chain, network

    def get_storage(self, address, slot):
        return self.chain.state.get_storage(self.network.address, slot)

    def set_storage(self, address, slot, value):
        self.chain.state.set_storage(self.network.address, slot, value)


def deploy(
    validators=VALIDATORS,
    administrators=(ADMIN,),
    *,
    anyone_deploys=False,
    accounts_only=False,
    validators_vote=False,
    votes_needed=0,
):
    chain = Chain(number=1_000)
    network = chain.deploy(
        Network,
        list(validators),
        [NODE],
        [DEPLOYER],
        [METER],
        list(administrators),
        anyone_deploys,
        accounts_only,
        validators_vote,
        votes_needed,
        DAY_S,
    )
    return chain, network


def validators_of(chain, network):
    return permissions.read_validators(AtItsAddress(chain, network))


def make_ready(chain, network, candidate):
    return network.ready(chain.number - 1, BLOCK_HASH, sender=candidate).events


def test_genesis_members_stand_in_their_slots():
    chain, network = deploy()
    stored = AtItsAddress(chain, network)
    assert permissions.read_validators(stored) == tuple(sorted(VALIDATORS))
    assert network.validators() == VALIDATORS
    for account in (NODE, VALIDATORS[0], STRANGER):
        assert permissions.may_connect(stored, account) == network.is_node(account)
        assert network.is_node(account) == (account != STRANGER)
    for account in (DEPLOYER, ADMIN):
        assert permissions.may_deploy(stored, account) == network.is_deployer(account)
        assert network.is_deployer(account) == (account == DEPLOYER)
    assert network.administrator() == ADMIN
    assert not network.anyone_deploys()
    assert not network.accounts_only()
    named = [*VALIDATORS, NODE, DEPLOYER, METER, ADMIN]
    assert network.members(0, 100) == (named, [1, 1, 1, 1, 4, 8, 16, 32])
    assert network.members(4, 2) == ([NODE, DEPLOYER], [4, 8])


def test_what_a_lone_administrator_proposes_is_done_at_once():
    chain, network = deploy()
    stored = AtItsAddress(chain, network)
    events = network.set_node(STRANGER, True, sender=ADMIN).events
    assert events == [
        Proposed(0, ADMIN, STRANGER, source.SET_NODE, 1, 0, NOTHING, chain.timestamp + DAY_S),
        Voted(0, ADMIN, True, 1, 1),
        FlagSet(source.SET_NODE, STRANGER, True),
        Done(0),
    ]
    assert permissions.may_connect(stored, STRANGER)
    network.set_node(NODE, False, sender=ADMIN)
    assert not permissions.may_connect(stored, NODE)
    network.set_deployer(ADMIN, True, sender=ADMIN)
    assert permissions.may_deploy(stored, ADMIN)
    network.set_deployer(ADMIN, False, sender=ADMIN)
    assert not permissions.may_deploy(stored, ADMIN)
    network.set_anyone_deploys(True, sender=ADMIN)
    assert permissions.may_deploy(stored, STRANGER)
    assert network.is_deployer(STRANGER)
    assert network.administrator() == ADMIN  # beside the flags in its word


def test_where_only_listed_accounts_transact_voters_still_do():
    chain, network = deploy()
    stored = AtItsAddress(chain, network)
    assert permissions.may_transact(stored, STRANGER)
    network.set_accounts_only(True, sender=ADMIN)
    network.add_validator(NODE, sender=ADMIN)
    allowed = {who for who in (METER, STRANGER, ADMIN, VALIDATORS[2], NODE, DEPLOYER)
               if permissions.may_transact(stored, who)}  # fmt: skip
    assert allowed == {METER, ADMIN, VALIDATORS[2], NODE}
    network.set_account(STRANGER, True, sender=ADMIN)
    network.set_account(METER, False, sender=ADMIN)
    assert permissions.may_transact(stored, STRANGER)
    assert not permissions.may_transact(stored, METER)


def test_a_new_validator_counts_from_its_own_word():
    chain, network = deploy()
    stored = AtItsAddress(chain, network)
    events = network.add_validator(STRANGER, sender=ADMIN).events
    assert CandidateAdded(STRANGER) in events
    assert validators_of(chain, network) == tuple(sorted(VALIDATORS))
    assert permissions.read_candidates(stored) == (STRANGER,)
    assert permissions.may_connect(stored, STRANGER)
    for height in (chain.number, chain.number + 1, chain.number - 257):
        with pytest.raises(NotRecent):
            network.ready(height, BLOCK_HASH, sender=STRANGER)
    with pytest.raises(NotCandidate):
        make_ready(chain, network, ADMIN)
    assert make_ready(chain, network, STRANGER) == [
        Ready(STRANGER, chain.number - 1, BLOCK_HASH),
        ValidatorAdded(STRANGER),
    ]
    assert validators_of(chain, network) == tuple(sorted([*VALIDATORS, STRANGER]))
    assert permissions.read_candidates(stored) == ()
    with pytest.raises(NotCandidate):
        make_ready(chain, network, STRANGER)


def test_a_candidate_may_be_taken_back():
    chain, network = deploy()
    network.add_validator(STRANGER, sender=ADMIN)
    with pytest.raises(AlreadyValidator):
        network.add_validator(STRANGER, sender=ADMIN)
    events = network.remove_validator(STRANGER, sender=ADMIN).events
    assert CandidateRemoved(STRANGER) in events
    with pytest.raises(NotCandidate):
        make_ready(chain, network, STRANGER)
    assert validators_of(chain, network) == tuple(sorted(VALIDATORS))


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("add_validator", (STRANGER,)),
        ("remove_validator", (VALIDATORS[0],)),
        ("set_node", (STRANGER, True)),
        ("set_deployer", (STRANGER, True)),
        ("set_account", (STRANGER, True)),
        ("set_administrator", (STRANGER, True)),
        ("set_anyone_deploys", (True,)),
        ("set_accounts_only", (True,)),
        ("set_voting", (True, 0, DAY_S)),
        ("schedule_rules", (5_000, 2)),
        ("upgrade", (STRANGER, BLOCK_HASH)),
        ("vote", (0, True)),
    ],
)
@pytest.mark.parametrize("sender", [STRANGER, VALIDATORS[0], DEPLOYER])
def test_only_voters_propose_and_vote(method, arguments, sender):
    _chain, network = deploy()
    with pytest.raises(NotVoter) as caught:
        getattr(network, method)(*arguments, sender=sender)
    assert caught.value == NotVoter(sender)
    assert network.proposal_count() == 0


def test_two_of_three_administrators():
    _chain, network = deploy(administrators=(ADMIN, SECOND, THIRD))
    assert network.voting() == (False, 0, 3, 2, DAY_S)
    events = network.remove_validator(VALIDATORS[3], sender=ADMIN).events
    assert [type(one) for one in events] == [Proposed, Voted]
    assert len(network.validators()) == 4
    with pytest.raises(NotVoter):
        network.vote(0, True, sender=VALIDATORS[0])
    again = network.vote(0, True, sender=ADMIN).events  # one account has one vote
    assert again == [Voted(0, ADMIN, True, 1, 2)]
    events = network.vote(0, True, sender=THIRD).events
    assert events == [Voted(0, THIRD, True, 2, 2), ValidatorRemoved(VALIDATORS[3]), Done(0)]
    assert len(network.validators()) == 3
    with pytest.raises(Closed):
        network.vote(0, True, sender=SECOND)


def test_a_vote_is_taken_back_and_a_removed_voters_vote_is_gone():
    _chain, network = deploy(administrators=(ADMIN, SECOND, THIRD), votes_needed=3)
    network.set_node(STRANGER, True, sender=ADMIN)
    network.vote(0, True, sender=SECOND)
    assert network.proposal(0)[1] == 2
    network.vote(0, False, sender=SECOND)
    assert network.proposal(0)[1] == 1
    network.vote(0, True, sender=SECOND)
    network.set_administrator(SECOND, False, sender=ADMIN)
    network.vote(1, True, sender=SECOND)
    network.vote(1, True, sender=THIRD)  # now two are left, and two are needed
    assert network.voting() == (False, 3, 2, 2, DAY_S)
    assert network.proposal(0)[1] == 1
    with pytest.raises(NotVoter):
        network.vote(0, True, sender=SECOND)
    network.vote(0, True, sender=THIRD)
    assert network.is_node(STRANGER)


def test_a_proposal_expires():
    chain, network = deploy(administrators=(ADMIN, SECOND, THIRD))
    network.set_node(STRANGER, True, sender=ADMIN)
    chain.timestamp += DAY_S
    network.vote(0, False, sender=SECOND)
    chain.timestamp += 1
    with pytest.raises(Closed):
        network.vote(0, True, sender=SECOND)
    with pytest.raises(NoProposal):
        network.vote(1, True, sender=SECOND)
    assert not network.is_node(STRANGER)


def test_validators_vote_where_genesis_says_so_and_the_removed_one_may_vote_for_it():
    _chain, network = deploy(administrators=(), validators_vote=True)
    assert network.administrator() == ZERO_ADDRESS
    assert network.voting() == (True, 0, 4, 3, DAY_S)
    with pytest.raises(NotVoter):
        network.set_node(STRANGER, True, sender=ADMIN)
    gone = VALIDATORS[0]
    network.remove_validator(gone, sender=gone)
    network.vote(0, True, sender=VALIDATORS[1])
    events = network.vote(0, True, sender=VALIDATORS[2]).events
    assert ValidatorRemoved(gone) in events
    with pytest.raises(NotVoter):
        network.set_node(STRANGER, True, sender=gone)
    assert network.voting() == (True, 0, 3, 2, DAY_S)


def test_who_votes_is_changed_by_a_vote():
    _chain, network = deploy()
    events = network.set_voting(True, 2, 2 * DAY_S, sender=ADMIN).events
    assert VotingSet(True, 2, 2 * DAY_S) in events
    assert network.voting() == (True, 2, 4, 2, 2 * DAY_S)
    network.set_administrator(ADMIN, False, sender=VALIDATORS[0])
    network.vote(1, True, sender=VALIDATORS[1])
    with pytest.raises(InvalidVoting):  # nobody would be left to vote
        network.set_voting(False, 1, DAY_S, sender=VALIDATORS[0])
    for expiry_s in (3_599, 31_536_001):
        with pytest.raises(InvalidVoting):
            network.set_voting(True, 1, expiry_s, sender=VALIDATORS[0])


def test_nobody_is_removed_last():
    _, network = deploy(VALIDATORS[:1])
    with pytest.raises(AlreadyValidator):
        network.add_validator(VALIDATORS[0], sender=ADMIN)
    with pytest.raises(ZeroAddress):
        network.add_validator(ZERO_ADDRESS, sender=ADMIN)
    with pytest.raises(NotValidator):
        network.remove_validator(STRANGER, sender=ADMIN)
    with pytest.raises(LastValidator):
        network.remove_validator(VALIDATORS[0], sender=ADMIN)
    with pytest.raises(LastAdministrator):
        network.set_administrator(ADMIN, False, sender=ADMIN)
    with pytest.raises(ZeroAddress):
        network.set_administrator(ZERO_ADDRESS, True, sender=ADMIN)
    for validators in ([STRANGER, STRANGER], [ZERO_ADDRESS]):
        with pytest.raises((AlreadyValidator, ZeroAddress)):
            deploy(validators)
    with pytest.raises(InvalidVoting):
        deploy(administrators=())


def test_what_was_right_when_proposed_is_checked_again_when_done():
    _chain, network = deploy(VALIDATORS[:2], (ADMIN, SECOND, THIRD))
    network.remove_validator(VALIDATORS[0], sender=ADMIN)
    network.remove_validator(VALIDATORS[1], sender=ADMIN)
    network.vote(0, True, sender=SECOND)
    with pytest.raises(LastValidator):
        network.vote(1, True, sender=SECOND)
    assert network.validators() == [VALIDATORS[1]]
    assert network.proposal(1)[1] == 1


def test_the_administrator_hands_over():
    _, network = deploy()
    network.set_administrator(STRANGER, True, sender=ADMIN)
    network.set_administrator(ADMIN, False, sender=ADMIN)  # needs two of two
    network.vote(1, True, sender=STRANGER)
    assert network.administrator() == STRANGER
    with pytest.raises(NotVoter):
        network.set_node(NODE, True, sender=ADMIN)


def test_the_most_validators():
    assert source.VALIDATORS_MAX == permissions.VALIDATORS_MAX
    assert source.CANDIDATES_MAX == permissions.CANDIDATES_MAX
    assert source.ADMINISTRATORS_MAX == permissions.ADMINISTRATORS_MAX
    many = [index.to_bytes(20, "big") for index in range(1, source.VALIDATORS_MAX + 1)]
    chain, network = deploy(many[:-1])
    for candidate in (many[-1], STRANGER):
        network.add_validator(candidate, sender=ADMIN)
    make_ready(chain, network, many[-1])
    assert validators_of(chain, network) == tuple(many)
    with pytest.raises(TooMany):
        make_ready(chain, network, STRANGER)


def test_a_validators_key_is_rotated_without_the_set_ever_changing_its_size():
    chain, network = deploy()
    old, new, other = VALIDATORS[1], make_account("new key"), make_account("better key")
    network.rotate(other, sender=old)
    network.rotate(new, sender=old)  # one at a time: the first is forgotten
    stored = AtItsAddress(chain, network)
    assert permissions.read_candidates(stored) == (new,)
    with pytest.raises(NotCandidate):
        make_ready(chain, network, other)
    assert validators_of(chain, network) == tuple(sorted(VALIDATORS))
    make_ready(chain, network, new)
    kept = [one for one in VALIDATORS if one != old]
    assert validators_of(chain, network) == tuple(sorted([*kept, new]))
    assert not permissions.may_connect(stored, old)


def test_a_key_does_not_rotate_into_a_place_that_was_taken_away():
    chain, network = deploy()
    new = make_account("new key")
    network.rotate(new, sender=VALIDATORS[1])
    events = network.remove_validator(VALIDATORS[1], sender=ADMIN).events
    assert CandidateRemoved(new) in events
    with pytest.raises(NotCandidate):
        make_ready(chain, network, new)
    with pytest.raises(NotValidator):
        network.rotate(STRANGER, sender=VALIDATORS[1])


def test_a_followers_key_is_rotated_at_once():
    chain, network = deploy()
    assert network.rotate(STRANGER, sender=NODE).events == [KeyRotated(NODE, STRANGER)]
    stored = AtItsAddress(chain, network)
    assert permissions.may_connect(stored, STRANGER)
    assert not permissions.may_connect(stored, NODE)


def test_rules_are_scheduled_by_height():
    chain, network = deploy()
    stored = AtItsAddress(chain, network)
    assert permissions.find_rules_version(permissions.read_rules(stored), 10**6) == 1
    for height, version in ((chain.number + 9, 2), (2_000, 1), (2_000, 0)):
        with pytest.raises(InvalidRules):
            network.schedule_rules(height, version, sender=ADMIN)
    assert RulesScheduled(2_000, 2) in network.schedule_rules(2_000, 2, sender=ADMIN).events
    for height, version in ((2_000, 3), (3_000, 2)):
        with pytest.raises(InvalidRules):
            network.schedule_rules(height, version, sender=ADMIN)
    network.schedule_rules(3_000, 7, sender=ADMIN)
    rules = permissions.read_rules(stored)
    assert rules == ((2_000, 2), (3_000, 7))
    versions = [permissions.find_rules_version(rules, at) for at in (1_999, 2_000, 2_999, 3_000)]
    assert versions == [1, 2, 2, 7]


def test_an_approved_upgrade_stands_in_its_slot():
    chain, network = deploy()
    stored = AtItsAddress(chain, network)
    assert permissions.read_upgrade(stored, NODE) is None
    events = network.upgrade(NODE, BLOCK_HASH, sender=ADMIN).events
    assert UpgradeApproved(NODE, BLOCK_HASH) in events
    assert permissions.read_upgrade(stored, NODE) == BLOCK_HASH
    with pytest.raises(ZeroAddress):
        network.upgrade(ZERO_ADDRESS, BLOCK_HASH, sender=ADMIN)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_an_override_rewrites_the_list_that_the_contract_goes_on_with(count):
    chain, network = deploy()
    stored = AtItsAddress(chain, network)
    saved = tuple(sorted(make_account(f"saved {index}") for index in range(count)))
    permissions.write_validators(stored, saved)
    assert permissions.read_validators(stored) == saved
    assert tuple(network.validators()) == saved
    network.add_validator(STRANGER, sender=ADMIN)
    make_ready(chain, network, STRANGER)
    assert permissions.read_validators(stored) == tuple(sorted([*saved, STRANGER]))
