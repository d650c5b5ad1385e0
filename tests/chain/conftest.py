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
        accounts: Sequence[bytes] | None = None,
    ) -> GenesisContract:
        types = ["address[]"] * 5 + ["bool"] * 3 + ["uint16", "uint64"]
        lists = [list(validators), list(nodes), list(deployers), list(accounts or ())]
        flags = [anyone, accounts is not None, False]
        arguments = abi.encode(types, [*lists, [ACCOUNTS[0]], *flags, 0, 86_400])
        return GenesisContract(NETWORK_CONTRACT, source, arguments)

    return make
