"""The network contract as genesis holds it."""

from collections.abc import Callable, Sequence
from importlib import resources

import pytest

from ledger.encoding import abi
from ledger.genesis import NETWORK_CONTRACT, GenesisContract
from tests.chain.chains import ACCOUNTS


@pytest.fixture
def network_contract() -> Callable[..., GenesisContract]:
    source = resources.files("contracts_py").joinpath("network.py").read_bytes()

    def make(
        validators: Sequence[bytes] = (ACCOUNTS[0],),
        nodes: Sequence[bytes] = (),
        deployers: Sequence[bytes] = (),
        anyone: bool = True,
    ) -> GenesisContract:
        arguments = abi.encode(
            ["address[]", "address[]", "address[]", "address", "bool"],
            [list(validators), list(nodes), list(deployers), ACCOUNTS[0], anyone],
        )
        return GenesisContract(NETWORK_CONTRACT, source, arguments)

    return make
