"""The four messages of QBFT, what each signature covers, and the status that peers compare.

    message  [version, vote, block or nil, [ROUND-CHANGE votes], [PREPARE votes]]        msgpack
    vote     [kind, height, round, digest or nil, prepared round or nil, signature]
    status   [version, height, round, open, [[kind, round, bits of who was heard], ...]]

A vote is the signed payload; what travels with it is not signed and proves itself. Its author is
whom the signature recovers to. The signature of a COMMIT is its commit seal: `commit_digest` covers
type, chain id, genesis hash and payload, so a second one would cost a recover and say nothing, and
no seal can stand in another member's message. Whether a message is right, not only well formed, is
judged in `justification`. Source: QBFT.md, "Messages".
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from ledger.block import SIGNATURE_BYTES, VALIDATORS_MAX, commit_digest
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import recover_address_compact, sign_compact
from ledger.encoding import rlp
from ledger.encoding.packed import pack, unpack, unpack_items
from ledger.errors import EncodingError, MessageTooLarge
from ledger.types import Address, Hash32, Height

VERSION = 1
MESSAGE_BYTES_MAX = 4_000_000  # a block of at most 2,000,000 and 200 votes of about 180
STATUS_BYTES_MAX = 16_384
STATUS_SLOTS_MAX = 256  # a liar fills 12 alone: it takes more than 20, f of 61 members
MASK_BYTES_MAX = -(-VALIDATORS_MAX // 8)
NUMBER_MAX = 2**63  # heights and rounds; keeps sums inside what msgpack can carry
VOTE_BYTES = 300  # of a decoded vote, its digest and signature included
KNOWN_AUTHORS_MAX = 4_096  # recovered signatures remembered, 500 bytes each


class Kind(IntEnum):
    """The four messages, by the number that stands for each on the wire and in signatures."""

    PROPOSAL = 1
    PREPARE = 2
    COMMIT = 3
    ROUND_CHANGE = 4


_KINDS = {int(kind): kind for kind in Kind}


class Network(NamedTuple):
    """What every signature is bound to."""

    chain_id: int
    genesis_hash: Hash32


class Vote(NamedTuple):
    """A signed payload. `digest` is the block hash; in a ROUND-CHANGE the prepared one, or None."""

    kind: Kind
    height: Height
    round: int
    digest: Hash32 | None
    prepared_round: int | None
    signature: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A vote and what travels with it; `block` is encoded, and decoded only once it is wanted."""

    vote: Vote
    block: bytes | None = None
    round_changes: tuple[Vote, ...] = ()
    prepares: tuple[Vote, ...] = ()

    def encode(self) -> bytes:
        return pack((VERSION, self.vote, self.block, self.round_changes, self.prepares))

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        votes = 1 + len(self.round_changes) + len(self.prepares)
        return len(self.block or b"") + VOTE_BYTES * votes

    @property
    def proven(self) -> bool:
        """Whether the signature proves all of it: nothing travels, or should travel, with it."""
        vote = self.vote
        travels = self.block is not None or self.round_changes or self.prepares
        return vote.kind is not Kind.PROPOSAL and vote.prepared_round is None and not travels

    @property
    def complete(self) -> bool:
        """Whether a ROUND-CHANGE carries the prepared block that it names."""
        return self.vote.prepared_round is None or self.block is not None


class Status(NamedTuple):
    """Where a node stands: the height it works on, the round, and whose votes it holds.

    `heard` has (kind, round, mask), bit i for the i-th of the sorted validators. `open`: a block is
    being decided, so that votes are worth sending again.
    """

    height: Height
    round: int
    open: bool
    heard: tuple[tuple[int, int, int], ...] = ()

    @property
    def head_height(self) -> Height:
        return self.height - 1

    def encode(self) -> bytes:
        """Of too many slots those in which most were heard: what else is sent again is little."""
        heard = self.heard
        if len(heard) > STATUS_SLOTS_MAX:
            most = sorted(heard, key=lambda slot: -slot[2].bit_count())
            heard = tuple(most[:STATUS_SLOTS_MAX])
        masks = [
            (kind, round_, mask.to_bytes(MASK_BYTES_MAX, "big").lstrip(b"\0"))
            for kind, round_, mask in heard
        ]
        return pack((VERSION, self.height, self.round, self.open, masks))


def signing_digest(network: Network, vote: Vote) -> Hash32:
    """What the author of a vote signs: keccak over type, chain id, genesis hash and payload."""
    kind, height, round_, digest, prepared_round, _ = vote
    if kind is Kind.COMMIT:
        assert digest is not None
        return commit_digest(network.chain_id, network.genesis_hash, height, round_, digest)
    numbers = _encode_uint(height) + _encode_uint(round_)
    prepared = b"" if prepared_round is None else _encode_uint(prepared_round)
    payload = rlp.encode_bytes(digest or b"") + rlp.encode_list_payload(prepared)
    return keccak256(rlp.encode_list_payload(_encode_domain(kind, network) + numbers + payload))


@lru_cache(maxsize=16)
def _encode_domain(kind: Kind, network: Network) -> bytes:
    """Type, chain id and genesis hash, with which what is signed begins."""
    chain = _encode_uint(network.chain_id) + rlp.encode_bytes(network.genesis_hash)
    return rlp.encode_bytes(f"wattledger/{kind.name.lower()}/1".encode()) + chain


@lru_cache(maxsize=64)  # every vote of a height has the same ones
def _encode_uint(number: int) -> bytes:
    return rlp.encode_bytes(rlp.encode_uint(number))


def sign_vote(private_key: bytes, network: Network, vote: Vote) -> Vote:
    """The vote with its signature, which is the same each time (RFC 6979)."""
    return Vote(*vote[:5], sign_compact(private_key, signing_digest(network, vote)))


class Authors:
    """Who signed what; each signature is recovered once."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._known: dict[bytes, tuple[Vote, Address]] = {}

    def author_of(self, vote: Vote) -> Address:
        """The address that signed a vote. Raises InvalidSignature, on a high s too."""
        known = self._known.get(vote.signature)
        if known is not None and known[0] == vote:
            return known[1]
        author = recover_address_compact(signing_digest(self.network, vote), vote.signature)
        if len(self._known) >= KNOWN_AUTHORS_MAX:
            self._known.clear()
        self._known[vote.signature] = (vote, author)
        return author


def decode_message(data: bytes) -> Message:
    """The message that `data` packs, its form checked, its block still encoded.

    Raises EncodingError, MessageTooLarge.
    """
    if len(data) > MESSAGE_BYTES_MAX:
        raise MessageTooLarge("a consensus message", len(data), MESSAGE_BYTES_MAX)
    items = unpack(data, "consensus message")
    if type(items) is not tuple or len(items) != 5 or items[0] != VERSION:
        raise EncodingError(f"a consensus message of version {VERSION} is a list of five items")
    vote = decode_vote(items[1])
    block = items[2]
    if block is None and items[3] == () and items[4] == ():
        return Message(vote)
    if vote.kind is Kind.PREPARE or vote.kind is Kind.COMMIT:
        raise EncodingError("consensus message: nothing travels with a PREPARE or a COMMIT")
    if block is not None and type(block) is not bytes:
        raise EncodingError("consensus message: the block is bytes or nil")
    round_changes = decode_votes(items[3], Kind.ROUND_CHANGE)
    return Message(vote, block, round_changes, decode_votes(items[4], Kind.PREPARE))


def decode_votes(items: Any, kind: Kind) -> tuple[Vote, ...]:
    """A bounded list of votes of one kind. Raises EncodingError."""
    if type(items) is not tuple or len(items) > VALIDATORS_MAX:
        raise EncodingError(f"consensus message: votes are a list of at most {VALIDATORS_MAX}")
    votes = tuple(decode_vote(item) for item in items)
    if any(vote.kind is not kind for vote in votes):
        raise EncodingError(f"consensus message: expected {kind.name} votes only")
    return votes


def decode_vote(item: Any) -> Vote:
    """A vote from its unpacked list. Raises EncodingError."""
    if type(item) is not tuple or len(item) != 6:
        raise EncodingError("a vote is a list of six items")
    number, height, round_, digest, prepared_round, signature = item
    kind = _KINDS.get(number) if type(number) is int else None
    if kind is None or not (_is_number(height) and _is_number(round_)):
        raise EncodingError("vote: kind, height or round are out of range")
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise EncodingError(f"vote: a signature has {SIGNATURE_BYTES} bytes")
    if digest is not None and (type(digest) is not bytes or len(digest) != 32):
        raise EncodingError("vote: a digest has 32 bytes")
    if kind is not Kind.ROUND_CHANGE:
        if digest is None or prepared_round is not None:
            raise EncodingError(
                "vote: a digest is missing, or a prepared round stands out of place"
            )
    elif round_ == 0 or (digest is None) != (prepared_round is None):
        raise EncodingError("ROUND-CHANGE: of round 0, or with one prepared field of two")
    elif prepared_round is not None and not (
        _is_number(prepared_round) and prepared_round < round_
    ):
        raise EncodingError("ROUND-CHANGE: the prepared round is not below its round")
    return Vote(kind, height, round_, digest, prepared_round, signature)


def decode_status(data: bytes) -> Status:
    """The status that a peer encoded. Raises EncodingError, MessageTooLarge."""
    if len(data) > STATUS_BYTES_MAX:
        raise MessageTooLarge("a status", len(data), STATUS_BYTES_MAX)
    items = unpack_items(data, "status", int, int, int, bool, tuple)
    version, height, round_, is_open, slots = items
    if version != VERSION or not (_is_number(height) and _is_number(round_)):
        raise EncodingError("status: version, height or round are out of range")
    heard = []
    for slot in slots[:STATUS_SLOTS_MAX]:
        match slot:
            case (int() as kind, int() as said_in, bytes() as mask) if len(mask) <= MASK_BYTES_MAX:
                heard.append((kind, said_in, int.from_bytes(mask, "big")))
            case _:
                raise EncodingError("status: a slot is the list (kind, round, mask)")
    return Status(height, round_, is_open, tuple(heard))


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < NUMBER_MAX
