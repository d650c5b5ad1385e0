"""What the engine of proof of work is told and asks for, beside `events`.

Branches, heads and reorganisations are the chain's: the engine hands blocks over one at a time and
hears where each came to stand. Times are monotonic milliseconds. Source: DESIGN.md section 4.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ledger.block import Block, Header
from ledger.types import Hash32


class Outcome(Enum):
    """Where a block came to stand. ORPHAN: its parent is not here. NOT_YET: ahead of our clock."""

    HEAD = "head"
    SIDE = "side"
    KNOWN = "known"
    ORPHAN = "orphan"
    NOT_YET = "not yet"
    INVALID = "invalid"


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


PowEvent: TypeAlias = BlockPlaced | HeadMoved | Mined | PeerGone
PowEffect: TypeAlias = ImportBlock | Mine | StopMining | AskBlocks | SendBlocks
