"""The network's members: who may change them, and that nodes find them at their slots."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts_py.network import (
    VALIDATORS_MAX,
    AdministratorSet,
    AlreadyValidator,
    AnyoneDeploysSet,
    DeployerSet,
    LastValidator,
    Network,
    NodeSet,
    NotAdministrator,
    NotValidator,
    TooManyValidators,
    ValidatorAdded,
    ValidatorRemoved,
    ZeroAddress,
)
from ledger import permissions
from ledger.contract.testing import Chain, make_account
from ledger.crypto.address import ZERO_ADDRESS

ADMIN, STRANGER, NODE, DEPLOYER = map(make_account, ("admin", "stranger", "node", "deployer"))
VALIDATORS = [make_account(f"validator {index}") for index in range(4)]


def deploy(validators=VALIDATORS, anyone_deploys=False):
    chain = Chain()
    network = chain.deploy(Network, validators, [NODE], [DEPLOYER], ADMIN, anyone_deploys)
    return chain, network


class AtItsAddress:
    """The contract's storage as the node would find it at the fixed address."""

    def __init__(self, chain, network):
        self.chain, self.network = chain, network

    def get_storage(self, address, slot):
        return self.chain.state.get_storage(self.network.address, slot)


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


def test_changes_reach_the_slots():
    chain, network = deploy()
    stored = AtItsAddress(chain, network)
    assert network.set_node(STRANGER, True, sender=ADMIN).events == [NodeSet(STRANGER, True)]
    assert permissions.may_connect(stored, STRANGER)
    assert network.set_node(NODE, False, sender=ADMIN).events == [NodeSet(NODE, False)]
    assert not permissions.may_connect(stored, NODE)
    assert network.set_deployer(ADMIN, True, sender=ADMIN).events == [DeployerSet(ADMIN, True)]
    assert permissions.may_deploy(stored, ADMIN)
    network.set_deployer(ADMIN, False, sender=ADMIN)
    assert not permissions.may_deploy(stored, ADMIN)
    assert network.set_anyone_deploys(True, sender=ADMIN).events == [AnyoneDeploysSet(True)]
    assert permissions.may_deploy(stored, STRANGER)
    assert network.is_deployer(STRANGER)
    events = network.add_validator(STRANGER, sender=ADMIN).events
    assert events == [ValidatorAdded(STRANGER)]
    assert permissions.read_validators(stored) == tuple(sorted([*VALIDATORS, STRANGER]))


def test_the_administrator_hands_over():
    _, network = deploy()
    events = network.set_administrator(STRANGER, sender=ADMIN).events
    assert events == [AdministratorSet(STRANGER)]
    assert network.administrator() == STRANGER
    with pytest.raises(NotAdministrator):
        network.set_node(NODE, True, sender=ADMIN)
    network.set_node(NODE, True, sender=STRANGER)
    assert not network.anyone_deploys()  # beside the administrator in its word
    with pytest.raises(ZeroAddress):
        network.set_administrator(ZERO_ADDRESS, sender=STRANGER)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("add_validator", (STRANGER,)),
        ("remove_validator", (VALIDATORS[0],)),
        ("set_node", (STRANGER, True)),
        ("set_deployer", (STRANGER, True)),
        ("set_anyone_deploys", (True,)),
        ("set_administrator", (STRANGER,)),
    ],
)
@pytest.mark.parametrize("sender", [STRANGER, VALIDATORS[0], DEPLOYER])
def test_only_the_administrator_changes_anything(method, arguments, sender):
    chain, network = deploy()
    with pytest.raises(NotAdministrator) as caught:
        getattr(network, method)(*arguments, sender=sender)
    assert caught.value == NotAdministrator(sender)
    assert permissions.read_validators(AtItsAddress(chain, network)) == tuple(sorted(VALIDATORS))


def test_no_list_of_validators_that_nodes_would_refuse():
    _, network = deploy(VALIDATORS[:1])
    with pytest.raises(AlreadyValidator):
        network.add_validator(VALIDATORS[0], sender=ADMIN)
    with pytest.raises(ZeroAddress):
        network.add_validator(ZERO_ADDRESS, sender=ADMIN)
    with pytest.raises(NotValidator):
        network.remove_validator(STRANGER, sender=ADMIN)
    with pytest.raises(LastValidator):
        network.remove_validator(VALIDATORS[0], sender=ADMIN)
    with pytest.raises(AlreadyValidator):
        deploy([STRANGER, STRANGER])
    with pytest.raises(ZeroAddress):
        deploy([ZERO_ADDRESS])


def test_the_most_validators():
    assert VALIDATORS_MAX == permissions.VALIDATORS_MAX
    many = [index.to_bytes(20, "big") for index in range(1, VALIDATORS_MAX + 1)]
    chain, network = deploy(many[:-1])
    network.add_validator(many[-1], sender=ADMIN)
    assert permissions.read_validators(AtItsAddress(chain, network)) == tuple(many)
    with pytest.raises(TooManyValidators):
        network.add_validator(STRANGER, sender=ADMIN)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=30))
def test_any_run_of_changes_equals_a_set(changes):
    chain, network = deploy(VALIDATORS[:2])
    accounts = [*VALIDATORS, STRANGER, NODE, DEPLOYER]
    members = set(VALIDATORS[:2])
    for add, index in changes:
        account = accounts[index]
        if add and account not in members:
            network.add_validator(account, sender=ADMIN)
            members.add(account)
        elif not add and account in members and len(members) > 1:
            events = network.remove_validator(account, sender=ADMIN).events
            assert events == [ValidatorRemoved(account)]
            members.discard(account)
    assert permissions.read_validators(AtItsAddress(chain, network)) == tuple(sorted(members))
    assert set(network.validators()) == members
    for account in accounts:
        assert network.is_validator(account) == (account in members)
