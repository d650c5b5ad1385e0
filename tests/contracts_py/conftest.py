"""A metering contract, deployed once and as new for each test."""

import pytest

from contracts_py.metering import Metering
from ledger.contract.testing import Chain
from tests.contracts_py.stories import HOUR_S, HOUSE, INDIA_S, METER, OPERATOR

NOW = 1_700_000_000


@pytest.fixture(scope="session")
def deployed():
    chain = Chain(timestamp=NOW)
    contract = chain.deploy(Metering, HOUR_S, INDIA_S, sender=OPERATOR)
    contract.enrol(METER, HOUSE, sender=OPERATOR)
    return chain, contract


@pytest.fixture
def chain(deployed):
    chain, _ = deployed
    chain.timestamp = NOW
    snapshot = chain.state.snapshot()
    yield chain
    chain.state.revert(snapshot)


@pytest.fixture
def metering(deployed, chain):
    return deployed[1]
