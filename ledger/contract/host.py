"""What contract code sees as `self`, but for its fields and its calls of other contracts.

The names that end in `__` cannot be spelled in a contract: the compiler puts them there for the
functions that an author imports. Fields are added by `program`, calls by `execution`.
"""

from typing import TYPE_CHECKING, Any

from ledger.contract import digests
from ledger.contract.door import Door
from ledger.contract.gas import GAS_ACCOUNT, GAS_BALANCE, GAS_CODEC, GAS_DATA_WORD
from ledger.contract.messages import BlockContext, Message
from ledger.contract.signals import PANIC_RANGE, Panicked
from ledger.contract.storage import count_words
from ledger.contract.values import Values
from ledger.errors import EncodingError
from ledger.receipt import Log
from ledger.state.account import EMPTY_CODE_HASH
from ledger.types import Address

if TYPE_CHECKING:
    from ledger.contract.program import Program


class Host:
    """One call of one contract; a subclass per program adds its fields as properties."""

    __slots__ = ("block", "door__", "msg")

    program__: "Program"

    def __init__(self, door: Door, message: Message, block: BlockContext) -> None:
        self.door__ = door
        self.msg = message
        self.block = block

    @property
    def address(self) -> Address:
        return self.door__.address

    @property
    def balance(self) -> int:
        door = self.door__
        door.charge(GAS_BALANCE)
        return door.state.get_balance(door.address)

    def balance_of__(self, account: Address) -> int:
        """What any account holds, in wei."""
        self.door__.charge(GAS_ACCOUNT)
        return self.door__.state.get_balance(account)

    def has_code__(self, account: Address) -> bool:
        """Whether a contract stands there."""
        self.door__.charge(GAS_ACCOUNT)
        return self.door__.state.get_code_hash(account) != EMPTY_CODE_HASH

    def allocate(self, size: int) -> None:
        """What makes bytes or lists inside counts their size here first."""
        self.door__.allocate(size)

    def emit(self, event: Any) -> None:
        codec, door = self.program__.events[type(event)], self.door__
        door.open_log(codec.topics, codec.count_words(event, door.charge))
        door.stack.logs.append(Log(door.address, *codec.encode(event)))

    # -- hashes and encodings ----------------------------------------------------------------

    def keccak256__(self, data: bytes) -> bytes:
        return digests.hash_bytes(data, self.door__.charge)

    def ecrecover__(self, digest: bytes, signature: bytes) -> Address:
        return digests.recover_signer(digest, signature, self.door__.charge)

    def eip712_domain__(self, name: str, version: str) -> bytes:
        door, chain_id = self.door__, self.block.chain_id
        return digests.hash_domain(name, version, chain_id, door.address, door.charge)

    def eip712_digest__(self, domain: bytes, struct_hash: bytes) -> bytes:
        return digests.hash_typed(domain, struct_hash, self.door__.charge)

    def hash_struct__(self, name: str, value: Any) -> bytes:
        return digests.hash_struct(self.program__.struct_types[name], value, self.door__.charge)

    def encode__(self, codec: Values, values: Any) -> bytes:
        """What leaves through a door, paid before it is made."""
        door = self.door__
        words = codec.count_words(values, door.charge)
        door.charge(GAS_DATA_WORD * words)
        door.allocate(64 * words)
        return codec.encode(values)

    def abi_encode__(self, number: int, values: Any) -> bytes:
        codec = self.program__.codecs[number]
        self.door__.charge(GAS_CODEC + codec.gas)
        return self.encode__(codec, values)

    def abi_packed__(self, number: int, values: Any) -> bytes:
        """abi.encodePacked, at the price of abi.encode."""
        codec, door = self.program__.codecs[number], self.door__
        door.charge(GAS_CODEC + codec.gas)
        words = codec.count_words(values, door.charge)
        door.charge(GAS_DATA_WORD * words)
        door.allocate(64 * words)
        return digests.encode_packed(codec.types, values, door.charge)

    def abi_decode__(self, number: int, data: bytes) -> Any:
        """Strictly; ill-formed data is a panic."""
        codec, door = self.program__.codecs[number], self.door__
        door.charge(GAS_CODEC + codec.gas + GAS_DATA_WORD * count_words(len(data)))
        door.allocate(4 * len(data))
        try:
            return codec.decode(data)
        except EncodingError:
            raise Panicked(PANIC_RANGE) from None
