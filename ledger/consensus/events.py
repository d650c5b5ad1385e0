"""What an engine is told and what it asks for: events in, effects out, nothing else.

The interpreter (the daemon, the simulator) hands over one event at a time and carries the effects
out in their order, also across steps: nothing after a `Persist` or a `CommitBlock` happens before
that is on disk. Where one fails, all that was queued behind it is dropped, the engine is told
`PersistFailed`, and only a new `Started` with what the disk holds makes it go on.
Times are monotonic milliseconds of the caller's choosing. Under proof of work branches, heads and
reorganisations are the chain's: its engine hands blocks over one at a time (`ImportBlock`) and
hears where each came to stand. Source: DESIGN.md section 4.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ledger.block import Block, Certificate, Header
from ledger.consensus.messages import Status
from ledger.consensus.votes import Evidence
from ledger.types import Address, Hash32, Height


class Verdict(Enum):
    """What checking a block found; NOT_YET is ahead of our clock, waits and is never condemned."""

    VALID = "valid"
    NOT_YET = "not yet"
    INVALID = "invalid"


class Outcome(Enum):
    """Where a block came to stand. ORPHAN: its parent is not here. NOT_YET: ahead of our clock."""

    HEAD = "head"
    SIDE = "side"
    KNOWN = "known"
    ORPHAN = "orphan"
    NOT_YET = "not yet"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Started:
    """The process runs, or its disk works again. `record` is the signer record, None if missing."""

    head_height: Height
    head_hash: Hash32
    validators: tuple[Address, ...]  # of head_height + 1
    record: bytes | None


@dataclass(frozen=True, slots=True)
class Stopping:
    """A clean stop: the last event. Its effects are carried out before the process ends."""


@dataclass(frozen=True, slots=True)
class Woke:
    """A time asked for with `WakeAt` has come; too early or too often does no harm."""


@dataclass(frozen=True, slots=True)
class Received:
    """A consensus message as a peer sent it; repeats are cheap here and must not be held back."""

    peer: bytes | None
    message: bytes


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What a connected peer holds. `member` is the validator it proved to be, None for others."""

    peer: bytes
    status: Status
    member: Address | None = None


@dataclass(frozen=True, slots=True)
class WorkWaiting:
    """Whether the pool holds a transaction that would be included on the head."""

    waiting: bool


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """The answer to `BuildBlock`: a block on the head, executed, our address its coinbase."""

    height: Height
    round: int
    block: Block


@dataclass(frozen=True, slots=True)
class BlockChecked:
    """The answer to `CheckBlock`; INVALID also answers a `CommitBlock` that did not execute."""

    block_hash: Hash32
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class CertifiedBlock:
    """A block somebody gave with its certificate. `verified`: the sync has checked that already."""

    peer: bytes | None
    block: Block
    certificate: Certificate
    verified: bool = False


@dataclass(frozen=True, slots=True)
class BlockImported:
    """The answer to `CommitBlock`, durable. `validators` are those of height + 1, `work_waiting` is
    as in `WorkWaiting`, after the pool gave up what the block includes."""

    height: Height
    block_hash: Hash32
    validators: tuple[Address, ...]
    work_waiting: bool


@dataclass(frozen=True, slots=True)
class PersistFailed:
    """A `Persist` or `CommitBlock` did not reach the disk; `reason` is shown to the operator."""

    reason: str


@dataclass(frozen=True, slots=True)
class BlockPlaced:
    """The answer to `ImportBlock`. `why` goes with INVALID, `wait_ms` with NOT_YET."""

    block_hash: Hash32
    outcome: Outcome
    why: str = ""
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class HeadMoved:
    """The head is now this one: told at the start and after each block that became it, or whose
    branch did. `unsettled`: a transaction has less than SETTLED_BLOCKS on top. `work_waiting` is as
    in `WorkWaiting`, after the pool took back what was withdrawn."""

    header: Header
    unsettled: bool
    work_waiting: bool


@dataclass(frozen=True, slots=True)
class Mined:
    """The miner found a nonce for the header with this seal hash."""

    seal_hash: Hash32
    nonce: bytes


@dataclass(frozen=True, slots=True)
class PeerGone:
    """It is not connected any more; also the answer to what was to be sent to it."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class Persist:
    """Write the signer record, in place of the last one, and sync."""

    record: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send our own words to one peer, or to everybody for None."""

    message: bytes
    to: bytes | None = None


@dataclass(frozen=True, slots=True)
class Relay:
    """Pass on another member's message, new and well signed, to whom has not had it."""

    message: bytes
    origin: bytes | None


@dataclass(frozen=True, slots=True)
class Reject:
    """What this peer sent no honest node would have sent; `reason` goes into its score."""

    peer: bytes | None
    reason: str


@dataclass(frozen=True, slots=True)
class Accuse:
    """A member signed two things: keep what proves it and show it to the operators."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Be woken at this time; replaces the time asked for before."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class BuildBlock:
    """Build a block on the head from what waits, an empty one if nothing does."""

    height: Height
    round: int


@dataclass(frozen=True, slots=True)
class CheckBlock:
    """Execute a block on the head, once, and keep what it did for `CommitBlock`."""

    block: Block


@dataclass(frozen=True, slots=True)
class FetchBlock:
    """Ask `peer` for the certified block of a height; its hash where that is known."""

    height: Height
    block_hash: Hash32 | None
    peer: bytes | None


@dataclass(frozen=True, slots=True)
class CommitBlock:
    """Import header, body, certificate and signer record in one durable transaction; `lease` None
    leaves the record as it is."""

    block: Block
    certificate: Certificate
    lease: bytes | None


@dataclass(frozen=True, slots=True)
class ImportBlock:
    """Find a block its place in the tree; answered by `BlockPlaced`, then `HeadMoved` if it did."""

    block: Block


@dataclass(frozen=True, slots=True)
class Mine:
    """Search for a nonce that seals this header, in place of the header searched for before."""

    header: Header


@dataclass(frozen=True, slots=True)
class StopMining:
    """Search for nothing."""


@dataclass(frozen=True, slots=True)
class AskBlocks:
    """Ask a peer for what follows `after`, or for None our head, or the newest block before it that
    the peer has on its chain, by the message `encode_ask`."""

    after: Hash32 | None
    to: bytes


@dataclass(frozen=True, slots=True)
class SendBlocks:
    """Send what follows on our chain the first of these hashes that stands on it, by
    `encode_blocks`: at most BLOCKS_MAX blocks, none where there is nothing."""

    locator: tuple[Hash32, ...]
    to: bytes


_FromPeers: TypeAlias = Received | PeerStatus | CertifiedBlock
_OfMining: TypeAlias = BlockPlaced | HeadMoved | Mined | PeerGone
_OfBlocks: TypeAlias = WorkWaiting | BlockBuilt | BlockChecked | BlockImported
Event: TypeAlias = Started | Stopping | Woke | PersistFailed | _FromPeers | _OfBlocks | _OfMining

_ForPeers: TypeAlias = Send | Relay | Reject | Accuse | FetchBlock
_Common: TypeAlias = Persist | CommitBlock | WakeAt | BuildBlock | CheckBlock
_ForMining: TypeAlias = ImportBlock | Mine | StopMining | AskBlocks | SendBlocks
Effect: TypeAlias = _Common | _ForPeers | _ForMining
