"""What must hold in every run, judged from outside the engines: S1, S2, D and L.

S1  one block hash per height, over all honest nodes and their restarts
S2  no honest key signs two contents for one (kind, height, round), nor in a round below its own
    ROUND-CHANGE
D   what a vote depends on is on its author's disk when the vote is first sent
L   after the network has healed, every honest node has a new head within a bound
"""

from ledger.block import Block, Certificate, quorum
from ledger.consensus.messages import Authors, Kind, Vote
from ledger.consensus.signer import decode_record
from ledger.errors import InvalidSignature


class Violation(AssertionError):
    """An invariant is broken; `rule` names it."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule


class Checker:
    """`s1_only` lets the other rules go, to see how far a bug gets that breaks them."""

    def __init__(self, authors: Authors, honest: set[bytes]) -> None:
        self.s1_only = False
        self._authors = authors
        self._honest = honest
        self._decided: dict[int, bytes] = {}
        self._said: dict[tuple[bytes, Kind, int, int], tuple[object, ...]] = {}
        self._changed: dict[tuple[bytes, int], int] = {}

    def see_import(
        self, block: Block, certificate: Certificate, validators: tuple[bytes, ...]
    ) -> None:
        known = self._decided.setdefault(block.number, block.hash)
        if known != block.hash:
            raise Violation("S1", f"two blocks of height {block.number}")
        head = (Kind.COMMIT, certificate.height, certificate.round, certificate.block_hash, None)
        signers = set()
        for signature in certificate.signatures:
            vote = Vote(*head, signature)
            signers.add(self._authors.author_of(vote))
            self.see_vote(vote)
        if not signers <= set(validators) or len(signers) < quorum(len(validators)):
            raise Violation("S1", f"block {block.number} without a quorum")

    def see_vote(self, vote: Vote, author_disk: bytes | None = None) -> None:
        """A vote on the wire or in a certificate; with the record of a node that says its own."""
        try:
            author = self._authors.author_of(vote)
        except InvalidSignature:
            return
        if author not in self._honest or self.s1_only:
            return
        key = (author, vote.kind, vote.height, vote.round)
        known = self._said.get(key)
        if known is None:
            floor = self._changed.get((author, vote.height), 0)
            if vote.round < floor:
                raise Violation("S2", f"{vote.kind.name} below the ROUND-CHANGE for {floor}")
            self._said[key] = vote
            if author_disk is not None:
                self._see_disk(vote, author_disk)
        elif known != vote:
            raise Violation("S2", f"two {vote.kind.name}s of {vote.height}, {vote.round}")
        if vote.kind is Kind.ROUND_CHANGE:
            floor = self._changed.get((author, vote.height), 0)
            self._changed[author, vote.height] = max(floor, vote.round)

    def _see_disk(self, vote: Vote, disk: bytes) -> None:
        record = decode_record(disk)
        if record.lease < (vote.height, vote.round):
            raise Violation("D", f"{vote.kind.name} without the lease of {vote.height, vote.round}")
        if vote.kind is Kind.COMMIT and record.lease[0] == vote.height and record.commit != vote:
            raise Violation("D", "a COMMIT that its author's disk does not hold")
