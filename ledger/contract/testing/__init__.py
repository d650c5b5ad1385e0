"""A chain in memory for pytest: deploy a contract, call it as Python, see its events as objects.

    chain = Chain()
    owner, meter = make_account("owner"), make_account("meter")
    metering = chain.deploy(Metering, 3_600, 19_800, sender=owner)
    receipt = metering.record(472_222, 1_250, 0, 0, sender=meter)
    assert receipt.events == [Recorded(meter, 472_222, 1_250)]

Calls go through the real doors: the source is checked and charged, call data encoded and decoded,
storage is laid out. There are no blocks, signatures or fees here. A failure's traceback ends in the
contract's own line, where `pytest --pdb` stops; breakpoints and coverage work in contract code. The
state machine base for hypothesis is `ledger.contract.testing.machine`.
"""

from ledger.contract.testing.accounts import Account, make_account
from ledger.contract.testing.chain import CHAIN_ID, GAS, Chain
from ledger.contract.testing.deployed import CallReceipt, Deployed
from ledger.contract.testing.failures import (
    CallRefused,
    ContractOutOfGas,
    ContractPanic,
    Unauthorized,
    UpgradeRefused,
)
from ledger.contract.testing.gas_report import GasReport

__all__ = [
    "CHAIN_ID",
    "GAS",
    "Account",
    "CallReceipt",
    "CallRefused",
    "Chain",
    "ContractOutOfGas",
    "ContractPanic",
    "Deployed",
    "GasReport",
    "Unauthorized",
    "UpgradeRefused",
    "make_account",
]
