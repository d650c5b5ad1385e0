"""The system address that replaces a contract's source and keeps its storage.

A transaction to UPGRADES calls it as any contract, by the ABI below; it has no source, for what it
does no contract may. A source is replaced by whoever sends the very one that the network's voters
approved for that contract, or, on a chain that lets owners do so, by the contract's owner, who is
its deployer until he names another. The layouts of storage are compared; `migrate` of the new
source runs once, with the same sender. What stood there before is kept: its own storage, laid out
as Solidity's,

    slot 0   mapping(address => struct {address owner; uint64 height;})     as deployed
    slot 1   mapping(address => struct {uint64 height; bytes32 codeHash;}[])   once upgraded

names the sources by hash, and every node keeps them. Not here: how layouts are compared
(`ledger.contract.layout_change`), what the voters said (`ledger.permissions`).
"""

from collections.abc import Callable, Sequence
from types import CellType
from typing import Any

from ledger.contract.door import Door
from ledger.contract.execution import (
    BlockContext,
    Message,
    Outcome,
    execute_migration,
    find_program,
    price_source,
)
from ledger.contract.gas import GAS_CALL, GAS_DATA_WORD, GAS_HASH
from ledger.contract.layout import data_slot, mapping_slot, slot_after
from ledger.contract.layout_change import layout_difference
from ledger.contract.parse import parse_contract
from ledger.contract.signals import OutOfGas, Panicked, Signal
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.errors import ContractRejected, EncodingError
from ledger.genesis import NETWORK_CONTRACT
from ledger.permissions import owners_upgrade, read_upgrade, upgrade_slot
from ledger.receipt import Log
from ledger.state.account import EMPTY_CODE_HASH
from ledger.state.state import State
from ledger.types import Address, Hash32, Height, Slot

UPGRADES: Address = (0x1002).to_bytes(20, "big")
SOURCES_MAX = 1_000
"""Sources of one contract that are listed at once, the newest."""
OLD_SOURCE_PART = 5
"""Of the replaced source only declarations are read, a fifth to a third of what a new one takes;
both must fit a block."""
DIFFERENCE_BYTES_MAX = 1_024
"""Of the text in a revert; `wattledger contract diff` shows all of it."""

_DEPLOYED, _HISTORY = bytes(32), (1).to_bytes(32, "big")


def _function(name: str, inputs: str, outputs: str = "", mutability: str = "nonpayable") -> Any:
    return {
        "type": "function",
        "name": name,
        "stateMutability": mutability,
        "inputs": _parameters(inputs),
        "outputs": _parameters(outputs),
    }


def _parameters(text: str) -> list[dict[str, Any]]:
    """`type name, type name`, as Solidity writes it; `indexed` between them in events."""
    pairs = [part.split() for part in text.split(", ") if part]
    return [{"name": words[-1], "type": words[0], "internalType": words[0]} for words in pairs]


def _event(name: str, inputs: str) -> Any:
    fields = [{**each, "indexed": True} for each in _parameters(inputs)]
    return {"type": "event", "name": name, "inputs": fields, "anonymous": False}


def _error(name: str, inputs: str = "") -> Any:
    return {"type": "error", "name": name, "inputs": _parameters(inputs)}


ABI: list[dict[str, Any]] = [
    _function("upgrade", "address target, bytes source"),
    _function("setOwner", "address target, address owner"),
    _function("ownerOf", "address target", "address owner", "view"),
    _function("sources", "address target", "uint64[] heights, bytes32[] codeHashes", "view"),
    _event("Upgraded", "address target, bytes32 oldCodeHash, bytes32 newCodeHash"),
    _event("OwnerSet", "address target, address owner"),
    _error("NotAllowed", "address account, address target"),
    _error("NoContract", "address target"),
    _error("SourceRejected"),
    _error("Unchanged", "address target"),
    _error("IncompatibleLayout", "string difference"),
]
"""What clients load to call the address. A rejected source is explained by `contract check`."""


class _Refusal(Signal):
    def __init__(self, name: str, *values: Any) -> None:
        super().__init__(name)
        entry = next(each for each in ABI if each["name"] == name)
        types = [each["type"] for each in entry["inputs"]]
        self.output = abi.encode_call(f"{name}({','.join(types)})", values)


def record_deployment(state: State, address: Address, owner: Address, height: Height) -> None:
    """Who made a contract, and when: the owner until he names another. Paid with its creation."""
    word = int.from_bytes(owner, "big") | height << 160
    state.set_storage(UPGRADES, _deployment_slot(address), word)


def execute_upgrades(state: State, block: BlockContext, message: Message) -> Outcome:
    """A call of the system address. The caller reverts the state where this is no success."""
    door = Door(state, UPGRADES, message.static)
    door.cell = CellType(message.gas)
    output = b""
    try:
        door.charge(GAS_CALL + GAS_DATA_WORD * (len(message.data) // 32))
        method = _METHODS.get(message.data[:4])
        if method is None or message.value:
            return Outcome("revert", door.cell.cell_contents, b"")
        types, handle = method
        arguments = abi.decode(types, message.data[4:])
        result = handle(door, block, message, *arguments)
    except EncodingError:
        return Outcome("revert", door.cell.cell_contents, b"")
    except _Refusal as refusal:
        return Outcome("revert", door.cell.cell_contents, refusal.output)
    except Panicked as panicked:
        output = abi.encode_call("Panic(uint256)", (panicked.code,))
        return Outcome("panic", door.gas_left, output)
    except OutOfGas:
        return Outcome("out_of_gas", 0, b"")
    if isinstance(result, Outcome):
        return result
    return Outcome("success", door.cell.cell_contents, result, door.stack.logs)


def _upgrade(
    door: Door, block: BlockContext, message: Message, target: Address, source: bytes
) -> Outcome:
    state, new_hash = door.state, keccak256(source)
    old_hash = state.get_code_hash(target)
    _check_upgrader(door, message.sender, target, new_hash)
    if old_hash == EMPTY_CODE_HASH:
        raise _Refusal("NoContract", target)
    if old_hash == new_hash:
        raise _Refusal("Unchanged", target)

    # 1. Both sources are read, the new one for the first time.
    old_source = state.get_code(target)
    door.charge(price_source(source) + price_source(old_source) // OLD_SOURCE_PART)
    try:
        program = find_program(source, block.rules_version)
    except ContractRejected:
        raise _Refusal("SourceRejected") from None
    differences = layout_difference(parse_contract(old_source).model, program.compiled.model)
    if differences:
        text = "; ".join(differences)
        raise _Refusal("IncompatibleLayout", text[:DIFFERENCE_BYTES_MAX])

    # 2. The new source stands, and what it replaced is remembered.
    if door.load(_history_slot(door, target)) == 0:
        deployed = door.load(_deployment_slot(target)) >> 160
        _append_source(door, target, deployed, old_hash)
    _append_source(door, target, block.height, new_hash)
    state.set_code(target, source)
    _emit(door, "Upgraded(address,bytes32,bytes32)", target, old_hash, new_hash)

    # 3. It brings its storage up to date, once.
    gas = door.cell.cell_contents
    migration = Message(
        sender=message.sender,
        to=target,
        value=0,
        data=b"",
        gas=gas,
        static=False,
        origin=message.origin,
        gas_price=message.gas_price,
    )
    outcome = execute_migration(state, block, migration, program, block.rules_version)
    if outcome.status == "success":
        outcome.logs = [*door.stack.logs, *outcome.logs]
    return outcome


def _check_upgrader(door: Door, sender: Address, target: Address, new_hash: Hash32) -> None:
    """By the voters' word, which is spent, or by the owner's where the chain lets owners."""
    state = door.state
    door.charge(3 * GAS_HASH)
    if read_upgrade(state, target) == new_hash:
        state.set_storage(NETWORK_CONTRACT, upgrade_slot(target), 0)
    elif not (owners_upgrade(state) and _read_owner(door, target) == sender):
        raise _Refusal("NotAllowed", sender, target)


def _set_owner(
    door: Door, block: BlockContext, message: Message, target: Address, owner: Address
) -> bytes:
    """To the zero address it is nobody's for ever, and only voters upgrade it."""
    if _read_owner(door, target) != message.sender:
        raise _Refusal("NotAllowed", message.sender, target)
    slot = _deployment_slot(target)
    height = door.load(slot) >> 160
    door.store(slot, int.from_bytes(owner, "big") | height << 160)
    _emit(door, "OwnerSet(address,address)", target, owner)
    return b""


def _owner_of(door: Door, block: BlockContext, message: Message, target: Address) -> bytes:
    return abi.encode(("address",), (_read_owner(door, target),))


def _sources(door: Door, block: BlockContext, message: Message, target: Address) -> bytes:
    heights, hashes = [], []
    for height, code_hash in list_sources(door.state, target, door.load, door.charge):
        heights.append(height)
        hashes.append(code_hash)
    return abi.encode(("uint64[]", "bytes32[]"), (heights, hashes))


_METHODS: dict[bytes, tuple[tuple[str, ...], Callable[..., Outcome | bytes]]] = {
    abi.selector("upgrade(address,bytes)"): (("address", "bytes"), _upgrade),
    abi.selector("setOwner(address,address)"): (("address", "address"), _set_owner),
    abi.selector("ownerOf(address)"): (("address",), _owner_of),
    abi.selector("sources(address)"): (("address",), _sources),
}


def list_sources(
    state: State,
    target: Address,
    load: Callable[[Slot], int] | None = None,
    charge: Callable[[int], None] = lambda gas: None,
) -> list[tuple[Height, Hash32]]:
    """(height, code hash) of a contract's sources, oldest first; empty where none stands."""
    if load is None:
        load = _reader(state)
    charge(2 * GAS_HASH)
    base = mapping_slot(_HISTORY, target.rjust(32, b"\0"))
    count = load(base)
    if count == 0:
        code_hash = state.get_code_hash(target)
        if code_hash == EMPTY_CODE_HASH:
            return []
        return [(load(_deployment_slot(target)) >> 160, code_hash)]
    found = []
    for index in range(max(0, count - SOURCES_MAX), count):
        slot = slot_after(data_slot(base), 2 * index)
        found.append((load(slot), load(slot_after(slot, 1)).to_bytes(32, "big")))
    return found


def _reader(state: State) -> Callable[[Slot], int]:
    return lambda slot: state.get_storage(UPGRADES, slot)


def _read_owner(door: Door, target: Address) -> Address:
    door.charge(GAS_HASH)
    owner = door.load(_deployment_slot(target)) & (1 << 160) - 1
    return owner.to_bytes(20, "big")


def _append_source(door: Door, target: Address, height: Height, code_hash: Hash32) -> None:
    base = _history_slot(door, target)
    count = door.load(base)
    door.charge(GAS_HASH)
    slot = slot_after(data_slot(base), 2 * count)
    door.store(slot, height)
    door.store(slot_after(slot, 1), int.from_bytes(code_hash, "big"))
    door.store(base, count + 1)


def _history_slot(door: Door, target: Address) -> Slot:
    door.charge(GAS_HASH)
    return mapping_slot(_HISTORY, target.rjust(32, b"\0"))


def _deployment_slot(target: Address) -> Slot:
    return mapping_slot(_DEPLOYED, target.rjust(32, b"\0"))


def _emit(door: Door, signature: str, *indexed: bytes) -> None:
    """An event whose fields are all indexed."""
    topics: Sequence[bytes] = [value.rjust(32, b"\0") for value in indexed]
    door.open_log(1 + len(topics), 0)
    door.stack.logs.append(Log(UPGRADES, (abi.topic(signature), *topics), b""))
