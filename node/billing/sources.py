"""Two ways to read the Metering contract's storage: believing a node, or proving every word.

`ProvenWords` takes nothing on trust but the network file: headers by certificates of validators
followed from genesis, the account under the state root, each slot under the account's root. A node
can leave out, delay and refuse; it cannot make up a word.
"""

import heapq
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.block import Certificate, Header, decode_certificate, decode_header
from ledger.chain import Chain
from ledger.contract.compile import compile_contract
from ledger.crypto.address import parse_address, to_checksum
from ledger.crypto.keccak import keccak256
from ledger.encoding.hexadecimal import decode_data, decode_quantity, encode_data, encode_quantity
from ledger.errors import ContractRejected, EncodingError, LedgerError, ProofError
from ledger.genesis import Genesis
from ledger.light import LightClient, WorkClient, verify_account, verify_storage
from ledger.state.account import Account
from ledger.store.memory import MemoryStore
from ledger.types import Address, Slot, Word
from ledger.work import SETTLED_BLOCKS
from node.billing.words import Layout
from node.client import Client
from node.errors import NodeError

HEADERS_PER_CALL = 100  # some 1.5 kB of JSON each
SLOTS_PER_CALL = 256  # a proof of a slot is some 3 kB of JSON; a reply may have 25 MB


def make_layout(source: bytes, address: Address) -> Layout:
    """The layout of a contract's source. Raises NodeError where it is no Wattledger contract."""
    try:
        return Layout(compile_contract(source).model)
    except ContractRejected as error:
        raise NodeError(f"{to_checksum(address)} holds no contract: {error}") from error


def get_source(client: Client, address: Address, height: int) -> bytes:
    """The source at an address. Raises NodeError where there is none."""
    source = decode_data(client.call("eth_getCode", encode_data(address), encode_quantity(height)))
    if not source:
        raise NodeError(f"there is no contract at {to_checksum(address)} as of block {height}")
    return source


@dataclass
class BelievedWords:
    """Words as a node says they are, all of one block."""

    client: Client
    address: Address
    height: int
    _known: dict[Slot, Word] = field(default_factory=dict)

    def read(self, slots: Iterable[Slot]) -> Mapping[Slot, Word]:
        asked = list(dict.fromkeys(slots))
        missing = [slot for slot in asked if slot not in self._known]
        where = (encode_data(self.address), encode_quantity(self.height))
        answers = self.client.batch(
            [("eth_getStorageAt", (where[0], encode_data(slot), where[1])) for slot in missing]
        )
        for slot, answer in zip(missing, answers, strict=True):
            self._known[slot] = int.from_bytes(decode_data(answer), "big")
        return {slot: self._known[slot] for slot in asked}


@dataclass
class ProvenWords:
    """Words of one contract, each proved under `header`."""

    client: Client
    address: Address
    header: Header
    account: Account
    on_progress: Callable[[int], None] | None = None
    proofs_checked: int = 0
    _known: dict[Slot, Word] = field(default_factory=dict)

    def read(self, slots: Iterable[Slot]) -> Mapping[Slot, Word]:
        asked = list(dict.fromkeys(slots))
        missing = [slot for slot in asked if slot not in self._known]
        for start in range(0, len(missing), SLOTS_PER_CALL):
            self._prove(missing[start : start + SLOTS_PER_CALL])
        return {slot: self._known[slot] for slot in asked}

    def _prove(self, slots: list[Slot]) -> None:
        answer = get_proof(self.client, self.address, slots, self.header.number)
        proofs = answer.get("storageProof")
        if not isinstance(proofs, list) or len(proofs) != len(slots):
            raise ProofError(f"{self.client.url} did not prove each slot it was asked for")
        for slot, one in zip(slots, proofs, strict=True):
            nodes = [decode_data(node) for node in one["proof"]]
            self._known[slot] = verify_storage(self.account.storage_root, slot, nodes)
        self.proofs_checked += len(slots)
        if self.on_progress is not None:
            self.on_progress(self.proofs_checked)


def get_proof(
    client: Client, address: Address, slots: Iterable[Slot], height: int
) -> dict[str, Any]:
    """eth_getProof, unchecked."""
    keys = [encode_data(slot) for slot in slots]
    answer = client.call("eth_getProof", encode_data(address), keys, encode_quantity(height))
    if not isinstance(answer, dict):
        raise ProofError(f"{client.url} gave no proof for {to_checksum(address)}")
    return answer


@dataclass(frozen=True)
class Work:
    """What a mined chain shows of a header: blocks on top of it, and hashes to a block."""

    on_top: int
    difficulty: int


@dataclass(frozen=True)
class FollowedChain:
    """A header that the network file alone made us believe; on a mined chain by `work`, which
    signatures and validators have no part in."""

    header: Header
    certificate: Certificate
    validators: tuple[Address, ...]
    genesis_hash: bytes
    changes: tuple[int, ...]
    overrides: tuple[int, ...] = ()
    work: "Work | None" = None

    @property
    def age_s(self) -> int:
        """Seconds since the block was proposed, by this machine's clock."""
        return int(time.time()) - self.header.timestamp


def follow_chain(client: Client, genesis: Genesis) -> FollowedChain:
    """From the network file to the node's newest certified header, over every change of validators.

    Raises ProofError where a certificate does not hold, NodeError for a node of another network.
    """
    chain = Chain(MemoryStore(), genesis)  # makes the genesis block; nothing is fetched
    theirs = client.call("eth_getBlockByNumber", "0x0", False)
    if not isinstance(theirs, dict) or decode_data(theirs["hash"]) != chain.genesis_hash:
        raise NodeError(
            f"{client.url} is a node of another network: the genesis block made from the network "
            f"file is 0x{chain.genesis_hash.hex()}"
        )
    if chain.is_mined:
        return _follow_work(client, chain)
    light = LightClient(
        genesis.chain_id, chain.genesis_hash, chain.validators, overrides=genesis.overrides
    )
    head = client.height()
    if head == 0:
        raise NodeError(f"{client.url} has no block after genesis yet")
    changes = [decode_quantity(one) for one in client.call("wattledger_getValidatorChanges")]
    overrides = {one.height for one in genesis.overrides}
    also = sorted(overrides.difference(changes))
    walked = [one for one in heapq.merge(changes, also) if 0 < one < head]
    certificate, validators = Certificate(0, 0, chain.genesis_hash, ()), chain.validators
    for height in [*walked, head]:
        header, certificate, validators = _get_header_proof(client, height)
        light.follow(header, certificate, validators)
    assert light.header is not None
    overridden = tuple(one for one in sorted(overrides) if one <= light.header.number)
    return FollowedChain(
        light.header, certificate, validators, chain.genesis_hash, tuple(walked), overridden
    )


def _follow_work(client: Client, chain: Chain) -> FollowedChain:
    """Every header from genesis to the node's head, and of those the newest that is settled."""
    light = WorkClient(chain.head)
    head = client.height()
    wanted = max(0, head - SETTLED_BLOCKS)
    if wanted == 0:
        raise NodeError(f"{client.url} has no settled block yet: {head} of {SETTLED_BLOCKS + 1}")
    settled = light.header
    for first in range(1, head + 1, HEADERS_PER_CALL):
        heights = range(first, min(first + HEADERS_PER_CALL, head + 1))
        answers = client.batch(
            [("wattledger_getHeaderProof", (encode_quantity(height),)) for height in heights]
        )
        for answer in answers:
            try:
                light.follow(decode_header(decode_data(answer["header"])))
            except EncodingError as error:
                raise ProofError(f"{client.url} gave no header: {error}") from error
            if light.header.number == wanted:
                settled = light.header
    none = Certificate(wanted, 0, settled.hash, ())
    work = Work(head - wanted, chain.genesis.difficulty)
    return FollowedChain(settled, none, (), chain.genesis_hash, (), (), work)


def _get_header_proof(
    client: Client, height: int
) -> tuple[Header, Certificate, tuple[Address, ...]]:
    answer = client.call("wattledger_getHeaderProof", encode_quantity(height))
    try:
        header = decode_header(decode_data(answer["header"]))
        certificate = decode_certificate(decode_data(answer["certificate"]))
        validators = tuple(parse_address(one) for one in answer["validators"])
    except (KeyError, TypeError, LedgerError) as error:
        raise ProofError(f"{client.url} gave no header proof of block {height}: {error}") from error
    if header.number != height:
        raise ProofError(f"{client.url} gave block {header.number}, asked for {height}")
    return header, certificate, validators


def prove_contract(
    client: Client, followed: FollowedChain, address: Address
) -> tuple[Account, bytes]:
    """The account of a contract under the header, and its source by its hash."""
    height = followed.header.number
    answer = get_proof(client, address, [], height)
    nodes = [decode_data(node) for node in answer["accountProof"]]
    account = verify_account(followed.header.state_root, address, nodes)
    if account is None:
        raise NodeError(f"proved: there is nothing at {to_checksum(address)} as of block {height}")
    source = get_source(client, address, height)
    if keccak256(source) != account.code_hash:
        raise ProofError(f"{client.url} gave a source that is not the one the chain holds")
    return account, source
