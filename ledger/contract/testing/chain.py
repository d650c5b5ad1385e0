"""The chain of a test: accounts, contracts and a clock in memory, without blocks.

What belongs here: deploying, coin and time. Calling a contract is `deployed`; what both do to the
state is what a transaction does, without its nonce, fee and intrinsic gas.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from ledger.contract.artifact import encode_payload
from ledger.contract.execution import (
    BlockContext,
    Message,
    Outcome,
    Program,
    execute_call,
    execute_creation,
    execute_migration,
    load_program,
)
from ledger.contract.layout_change import layout_difference
from ledger.contract.testing.accounts import Account, make_account
from ledger.contract.testing.deployed import CallReceipt, Deployed, Party
from ledger.contract.testing.failures import CallRefused, UpgradeRefused
from ledger.contract.testing.gas_report import open_report
from ledger.contract.testing.values import to_values
from ledger.crypto.address import contract_address
from ledger.crypto.keccak import keccak256
from ledger.errors import ContractRejected
from ledger.genesis import GAS_LIMIT
from ledger.state.account import EMPTY_CODE_HASH
from ledger.state.state import State
from ledger.trie.trie import EMPTY_ROOT
from ledger.types import Address, Slot, Word

GAS = GAS_LIMIT
"""Given to each call where the test names none: the block gas limit of a chain by default."""
CHAIN_ID = 1947


class _NothingStored:
    def get_node(self, trie: bytes, path: bytes) -> bytes | None:
        return None

    def get_code(self, code_hash: bytes) -> bytes | None:
        return None


class MemoryState(State):
    """A state that began empty and was never committed: all of it can be listed."""

    def __init__(self) -> None:
        super().__init__(_NothingStored(), EMPTY_ROOT)

    def sum_balances(self) -> int:
        """Wei of all accounts together."""
        return sum(entry.balance for entry in self._entries.values())

    def list_words(self, address: Address) -> dict[Slot, Word]:
        """The words of a contract's storage that are not zero."""
        entry = self._entries.get(address)
        return {slot: word for slot, word in entry.words.items() if word} if entry else {}


class Chain:
    """Accounts, contracts and a clock. Set `timestamp` (Unix seconds) and `number` freely."""

    def __init__(self, timestamp: int = 1_700_000_000, number: int = 1) -> None:
        self.timestamp = timestamp
        self.number = number
        self.chain_id = CHAIN_ID
        self.state = MemoryState()
        self.sender: Address = make_account("default sender")
        self.contracts: dict[Address, Deployed] = {}
        self.funded_wei = 0
        """All that `fund` has made: what every account together owns, whatever contracts do."""
        self.gas = open_report()

    # Accounts and time.

    def account(self, name: str, wei: int = 0) -> Account:
        """The account of that name, given `wei` of native coin."""
        account = make_account(name)
        self.fund(account, wei)
        return account

    def fund(self, account: "Party", wei: int) -> None:
        """Make `wei` of native coin out of nothing."""
        self.state.add_balance(to_address(account), wei)
        self.funded_wei += wei

    def balance(self, account: "Party") -> int:
        """What an account or contract owns, in wei."""
        return self.state.get_balance(to_address(account))

    def travel(self, seconds: int, blocks: int = 1) -> None:
        """Let so much time and so many blocks go by."""
        self.timestamp += seconds
        self.number += blocks

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """What happens inside is undone at the end: storage, coin, contracts and time."""
        snapshot = self.state.snapshot()
        kept = self.timestamp, self.number, self.funded_wei, dict(self.contracts)
        try:
            yield
        finally:
            self.state.revert(snapshot)
            self.timestamp, self.number, self.funded_wei, self.contracts = kept

    # Contracts.

    def deploy(
        self,
        contract: type | Path | str,
        *arguments: Any,
        sender: "Party | None" = None,
        value: int = 0,
        gas: int = GAS,
    ) -> Any:
        """Deploy a contract class, or the one in the file at a path; its methods are the result's.

        Raises ContractRejected, or what the constructor raises.
        """
        __tracebackhide__ = True
        source, program, kind, path = read_contract(contract)
        sender = self.sender if sender is None else to_address(sender)
        created = contract_address(sender, self.state.get_nonce(sender))
        self.state.increment_nonce(sender)
        deployed = Deployed(self, created, program, list_names(kind), path)
        entry = program.constructor
        encoded = entry.arguments.encode(to_values(arguments)) if entry else b""
        data = encode_payload(source, encoded)
        self.contracts[created] = deployed
        try:
            receipt = deployed._run(execute_creation, None, data, sender, value, gas)
        except Exception:
            del self.contracts[created]
            raise
        deployed.deploy_receipt = receipt
        return deployed

    def upgrade(
        self,
        deployed: Deployed,
        contract: type | Path | str,
        *,
        sender: "Party | None" = None,
        gas: int = GAS,
    ) -> Any:
        """Put another source where `deployed` stands and run its `migrate`, as an upgrade does that
        the network allows. The result has the new methods; storage is the same.

        Raises UpgradeRefused where the new source would misread storage, or what `migrate` raises.
        """
        __tracebackhide__ = True
        source, program, kind, path = read_contract(contract)
        differences = layout_difference(deployed._program.compiled.model, program.compiled.model)
        if differences:
            raise UpgradeRefused("; ".join(differences))
        upgraded = Deployed(self, deployed.address, program, list_names(kind), path)
        migrate = partial(execute_migration, program=program)
        sender = self.sender if sender is None else to_address(sender)
        snapshot = self.state.snapshot()
        self.state.set_code(deployed.address, source)
        self.contracts[deployed.address] = upgraded
        try:
            upgraded.deploy_receipt = upgraded._run(migrate, None, b"", sender, 0, gas)
        except Exception:
            self.state.revert(snapshot)
            self.contracts[deployed.address] = deployed
            raise
        return upgraded

    def transfer(
        self, to: "Party", wei: int, *, sender: "Party | None" = None, gas: int = GAS
    ) -> CallReceipt | None:
        """Send coin alone; a contract takes it by its `receive`, whose receipt this is."""
        __tracebackhide__ = True
        address = to_address(to)
        sender = self.sender if sender is None else to_address(sender)
        found = self.contracts.get(address)
        if found is not None:
            return found._run(execute_call, None, b"", sender, wei, gas)
        self.execute(execute_call, Message(sender, address, wei, b"", gas, False, sender, 0))
        return None

    def execute(self, execute: Callable[..., Outcome], message: Message) -> Outcome:
        """As a transaction does: value moves, and what fails is undone."""
        state = self.state
        block = BlockContext(self.number, self.timestamp, bytes(20), GAS, 0, self.chain_id)
        snapshot = state.snapshot()
        if message.value:
            balance = state.get_balance(message.sender)
            if balance < message.value:
                raise CallRefused(f"the sender has {balance} wei, see `chain.fund(account, wei)`")
            state.sub_balance(message.sender, message.value)
            state.add_balance(message.to, message.value)
        if execute is execute_call and state.get_code_hash(message.to) == EMPTY_CODE_HASH:
            return Outcome("success", message.gas, b"")
        outcome = execute(state, block, message)
        if outcome.status != "success":
            state.revert(snapshot)
        return outcome


def to_address(party: "Party") -> Address:
    """The address of an account, of a contract, or of the account with a name."""
    if isinstance(party, str):
        return make_account(party)
    return party.address if isinstance(party, Deployed) else party


def read_contract(contract: type | Path | str) -> tuple[bytes, Program, Any, Path]:
    """Source, program, class and file of a contract class, or of the one in a file.

    Raises ContractRejected, with the file in its notes.
    """
    module = load_module(contract) if isinstance(contract, Path | str) else None
    path = Path(inspect.getfile(module or contract))  # type: ignore[arg-type]
    source = path.read_bytes()
    try:
        program = load_program(source, keccak256(source), 1, str(path))
    except ContractRejected as error:
        error.add_note(f"{path}:{error.line}: {error.text}")
        raise
    kind = getattr(module, program.compiled.model.name) if module else contract
    return source, program, kind, path


def load_module(path: Path | str) -> ModuleType:
    """The author's module, run as ordinary Python: its classes are what tests compare with."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def list_names(contract: type) -> dict[str, Any]:
    """The records by name: those of the contract's module, then of its base classes' modules."""
    names: dict[str, Any] = {}
    for kind in reversed(contract.__mro__):
        module = sys.modules.get(kind.__module__)
        if module is not None and kind is not object:
            names.update(vars(module))
    for method in vars(contract).values():
        if inspect.isfunction(method):  # the module of a file at a path stands nowhere else
            names.update(method.__globals__)
            break
    return names
