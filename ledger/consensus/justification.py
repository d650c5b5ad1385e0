"""Whether a message of the current height is right: pure rules over votes, members and blocks.

Signatures are capped at the number of members before any is recovered, and authors are counted as
distinct addresses. Source: QBFT.md, "Proposer", and the two paragraphs after the rules.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ledger.block import Block, Certificate, quorum
from ledger.consensus.messages import Authors, Kind, Message, Vote
from ledger.errors import EncodingError, InvalidMessage, InvalidTransaction
from ledger.types import Address, Hash32, Height


@dataclass(frozen=True)
class Place:
    """A height: what its block follows and who decides it. `validators` are sorted and distinct."""

    height: Height
    parent_hash: Hash32
    validators: tuple[Address, ...]
    authors: Authors
    decode: Callable[[bytes], Block]

    @cached_property
    def quorum(self) -> int:
        return quorum(len(self.validators))

    @cached_property
    def faults(self) -> int:
        """f: how many members may do anything at all."""
        return (len(self.validators) - 1) // 3


def compute_proposer(validators: Sequence[Address], height: Height, round_: int) -> Address:
    """Position (h + r) mod n in the sorted set of that height: one rule, no history."""
    return validators[(height + round_) % len(validators)]


def check_votes(place: Place, votes: Sequence[Vote], what: str) -> dict[Address, Vote]:
    """A quorum of votes from distinct members, by author. Raises InvalidMessage."""
    if len(votes) > len(place.validators):
        raise InvalidMessage(f"{what}: {len(votes)} signatures of {len(place.validators)} members")
    if len(votes) < place.quorum:
        raise InvalidMessage(f"{what}: {len(votes)} signatures, a quorum is {place.quorum}")
    by_author = {place.authors.author_of(vote): vote for vote in votes}
    if len(by_author) != len(votes):
        raise InvalidMessage(f"{what}: a member stands in it twice")
    if not by_author.keys() <= set(place.validators):
        raise InvalidMessage(f"{what}: a signature of nobody in the validator set")
    return by_author


def check_prepared(
    place: Place, round_: int, digest: Hash32, votes: Sequence[Vote]
) -> dict[Address, Vote]:
    """A quorum of PREPAREs for exactly (height, round, digest). Raises InvalidMessage."""
    expected = (Kind.PREPARE, place.height, round_, digest)
    if any(vote[:4] != expected for vote in votes):
        raise InvalidMessage("prepared certificate: a PREPARE for another height, round or block")
    return check_votes(place, votes, "prepared certificate")


def check_block(place: Place, encoded: bytes | None, digest: Hash32 | None) -> Block:
    """The block that a vote names, following our head. Raises InvalidMessage."""
    if encoded is None:
        raise InvalidMessage("the block that this message names does not travel with it")
    try:
        block = place.decode(encoded)
    except (EncodingError, InvalidTransaction) as error:
        raise InvalidMessage(f"the block of this message does not decode: {error}") from error
    if block.hash != digest:
        raise InvalidMessage("the block of this message has another hash than its vote names")
    if block.number != place.height or block.header.parent_hash != place.parent_hash:
        raise InvalidMessage("the block of this message does not follow our head")
    return block


def check_round_change(place: Place, message: Message) -> Block | None:
    """The prepared block of a ROUND-CHANGE with its quorum of PREPAREs, None if it names none."""
    vote = message.vote
    if vote.prepared_round is None or vote.digest is None:
        if message.block is not None or message.prepares:
            raise InvalidMessage(
                "ROUND-CHANGE: nothing prepared, and yet something travels with it"
            )
        return None
    check_prepared(place, vote.prepared_round, vote.digest, message.prepares)
    return check_block(place, message.block, vote.digest)


def check_proposal(place: Place, message: Message, author: Address) -> Block:
    """The proposed block of a justified PROPOSAL; executing it is left. Raises InvalidMessage."""
    vote = message.vote
    if author != compute_proposer(place.validators, vote.height, vote.round):
        raise InvalidMessage("PROPOSAL: its author is not the proposer of its round")
    highest = _check_round_changes(place, vote.round, message.round_changes)
    block = check_block(place, message.block, vote.digest)
    if highest is None:
        if message.prepares:
            raise InvalidMessage("PROPOSAL: nothing was prepared, and yet PREPAREs come with it")
        if block.header.coinbase != author:
            raise InvalidMessage("PROPOSAL: the coinbase of a fresh block is its proposer")
        return block
    assert highest.prepared_round is not None and highest.digest is not None
    if vote.digest != highest.digest:
        raise InvalidMessage("PROPOSAL: another block than the highest prepared one")
    check_prepared(place, highest.prepared_round, highest.digest, message.prepares)
    return block


def _check_round_changes(place: Place, round_: int, votes: Sequence[Vote]) -> Vote | None:
    """What a PROPOSAL of a round must answer to: the highest prepared of its ROUND-CHANGEs."""
    if round_ == 0:
        if votes:
            raise InvalidMessage("PROPOSAL: round 0 needs no ROUND-CHANGEs")
        return None
    if any((vote.height, vote.round) != (place.height, round_) for vote in votes):
        raise InvalidMessage("PROPOSAL: a ROUND-CHANGE for another height or round")
    check_votes(place, votes, "justification")
    return find_highest_prepared(votes)


def find_highest_prepared(votes: Iterable[Vote]) -> Vote | None:
    """Of these ROUND-CHANGEs the one prepared in the highest round, None if none is."""
    prepared = [vote for vote in votes if vote.prepared_round is not None]
    return max(prepared, key=lambda vote: vote.prepared_round or 0, default=None)


def check_certificate(
    place: Place, block: Block, certificate: Certificate, *, signatures: bool
) -> None:
    """Whether a block follows our head and a quorum of members signed it. Raises InvalidMessage.

    Without `signatures` only their subject is compared: who gave it has recovered them.
    """
    if certificate.height != place.height or certificate.block_hash != block.hash:
        raise InvalidMessage("the certificate is of another block")
    if block.number != place.height or block.header.parent_hash != place.parent_hash:
        raise InvalidMessage("this certified block does not follow our head")
    if not signatures:
        return
    head = (Kind.COMMIT, place.height, certificate.round, certificate.block_hash, None)
    votes = [Vote(*head, signature) for signature in certificate.signatures]
    check_votes(place, votes, "certificate")
