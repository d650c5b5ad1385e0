"""The one place that signs votes, and the record its disk must hold before the wire sees them.

    checksum    CRC-32 of the rest, 4 bytes big-endian: a torn or flipped record is never silent
    [version, height, round, note, prepared, commit]        msgpack
    note        nil, or the votes signed under the lease, written at a clean stop
    prepared    nil, or [round, block, [PREPARE votes]]: the lock, whatever its round
    commit      nil, or our last COMMIT of the height

The lease (height, round) says up to where this key may have signed. A lease found on disk permits
nothing new, but for what the note leaves open. The record is made once, with the key; backups leave
it out. When to lease, lock and sign is decided in `qbft`, which also sees that each record returned
here is persisted before anything else is sent. Source: QBFT.md, "On disk before on the wire".
"""

import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace

from ledger.block import quorum
from ledger.consensus.messages import Kind, Network, Vote, decode_vote, decode_votes, sign_vote
from ledger.crypto.address import address_of
from ledger.encoding.packed import pack, unpack
from ledger.errors import EncodingError
from ledger.types import Address, Hash32, Height

VERSION = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """A quorum of PREPAREs for a block, which is encoded."""

    round: int
    block: bytes
    prepares: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class SignerRecord:
    """All that was signed and may still bind: no vote leaves before it stands here."""

    lease: tuple[Height, int]
    note: tuple[Vote, ...] | None = None
    prepared: Prepared | None = None
    commit: Vote | None = None

    def encode(self) -> bytes:
        held = self.prepared
        prepared = (held.round, held.block, held.prepares) if held else None
        body = pack((VERSION, *self.lease, self.note, prepared, self.commit))
        return zlib.crc32(body).to_bytes(4, "big") + body


DISTRUSTED = SignerRecord((0, 0))
"""Written over a record that a vote of our own has shown to be too old; it counts as missing."""


def initial_record() -> bytes:
    """The record of a new key: the lease of (1, 0), and the note that nothing was signed."""
    return SignerRecord((1, 0), note=()).encode()


def decode_record(data: bytes) -> SignerRecord:
    """The record that `data` holds. Raises EncodingError on a damaged one."""
    body = data[4:]
    if len(data) < 4 or zlib.crc32(body) != int.from_bytes(data[:4], "big"):
        raise EncodingError("the signer record is damaged: its checksum is wrong")
    match unpack(body, "signer record"):
        case (1, int() as height, int() as round_, note, prepared, commit):
            return SignerRecord(
                (height, round_),
                None if note is None else tuple(decode_vote(vote) for vote in note),
                None if prepared is None else _decode_prepared(prepared),
                None if commit is None else decode_vote(commit),
            )
    raise EncodingError(f"this is not a signer record of version {VERSION}")


def _decode_prepared(items: object) -> Prepared:
    match items:
        case (int() as round_, bytes() as block, tuple() as prepares):
            return Prepared(round_, block, decode_votes(prepares, Kind.PREPARE))
    raise EncodingError("signer record: a prepared certificate is (round, block, PREPAREs)")


class Signer:
    """A key with its record. `mute`: in the leased round of before a crash, nothing new is signed.

    `signed` has what this key signed under its lease; `found` says that the lease was found on disk
    and has not been resumed yet.
    """

    def __init__(self, private_key: bytes, network: Network) -> None:
        self.address = address_of(private_key)
        self.record: SignerRecord | None = None
        self.signed: dict[Kind, Vote] = {}
        self.mute = False
        self.found = False
        self._key = private_key
        self._network = network
        self._reports: dict[Address, Height] = {}

    def load(self, data: bytes | None, height: Height, missing_allowed: bool) -> None:
        """Take the record of the disk, to work on `height`. One that an import outran is of a
        backup and counts as missing; the operator may allow that. Raises EncodingError."""
        record = decode_record(data) if data is not None else None
        if record is not None and record.lease < (height, 0):
            record = None
        if record is None and missing_allowed:
            record = SignerRecord((height, 0))
        self.record, self.found = record, record is not None
        self.signed, self.mute, self._reports = {}, False, {}

    @property
    def prepared(self) -> Prepared | None:
        """The lock: the best prepared certificate."""
        return self.record.prepared if self.record else None

    def may_sign(self, kind: Kind, height: Height) -> bool:
        """Whether this key may sign a vote of a kind that it has not signed under its lease."""
        allowed = not self.mute and not self.found and kind not in self.signed
        return allowed and self.holds(height)

    def explain(self, height: Height, validators: Collection[Address]) -> str | None:
        """Why this key signs nothing at a height, None if it does."""
        if self.address not in validators:
            return "it is no validator and only follows"
        if self.record is None:
            return (
                "its signer record is missing or an old copy: it signs again two blocks after the "
                "highest head that a quorum of other validators report"
            )
        if self.record.lease[0] > height:
            return f"it may sign again from block {self.record.lease[0]} on"
        if self.found:
            return "it has just started and first asks the others how far the chain is"
        return "it was restarted in this round and signs in the next" if self.mute else None

    def holds(self, height: Height) -> bool:
        """Whether the lease is of this height: below it nothing is signed."""
        return self.record is not None and self.record.lease[0] == height

    def resume(self) -> bytes | None:
        """Go on under the lease found on disk; the record to persist where its note was erased."""
        assert self.record is not None and self.found
        note = self.record.note
        self.found, self.mute = False, note is None
        self.signed = {vote.kind: vote for vote in note or ()}
        self.record = replace(self.record, note=None)
        return None if note is None else self.record.encode()

    def lease(self, height: Height, round_: int) -> bytes:
        """Lease a later round; to be persisted before anything is sent for it."""
        assert self.record is not None and self.record.lease < (height, round_)
        self.signed, self.mute = {}, False
        self.record = replace(self.record, lease=(height, round_))
        return self.record.encode()

    def lock(self, prepared: Prepared, commit: Vote) -> bytes:
        """Keep the prepared certificate and our COMMIT; to be persisted before that is sent."""
        assert self.record is not None and self.signed[Kind.COMMIT] == commit
        self.record = replace(self.record, prepared=prepared, commit=commit)
        return self.record.encode()

    def raise_to(self, height: Height) -> bytes | None:
        """Raise the lease to (height, 0), never lower it: what the import's transaction writes."""
        if self.record is None:
            return None
        if self.record.lease < (height, 0):
            # Where nothing was signed since the start, the note says so until it is resumed.
            self.record = SignerRecord((height, 0), () if self.found else None)
            self.signed, self.mute = {}, False
        return self.record.encode()

    def write_note(self) -> bytes | None:
        """The record with the note of a clean stop, unless the last round's end was not clean."""
        if self.record is None or self.mute or self.found:
            return None
        return replace(self.record, note=tuple(self.signed.values())).encode()

    def sign(
        self,
        kind: Kind,
        height: Height,
        round_: int,
        digest: Hash32 | None,
        prepared_round: int | None,
    ) -> Vote:
        """Sign a vote under the lease; the same content twice gives the same vote."""
        assert self.record is not None and self.record.lease == (height, round_)
        # After a crash only the ROUND-CHANGE that the disk holds all of may be signed once more.
        assert not self.found and (not self.mute or kind is Kind.ROUND_CHANGE)
        vote = self.seal(Vote(kind, height, round_, digest, prepared_round, b""))
        assert self.signed.setdefault(kind, vote) == vote, f"two {kind.name}s in one round"
        return vote

    def seal(self, vote: Vote) -> Vote:
        """The signed vote, without leave: only to find out whether others hold such a one."""
        return sign_vote(self._key, self._network, vote)

    def distrust(self, vote: Vote) -> bytes | None:
        """A vote of ours that others show. Where the record should have known of it but does not,
        it is an old copy: from here on it counts as missing, and this is to be persisted."""
        record = self.record
        if record is None or vote.height < record.lease[0]:
            return None
        known = record.commit.round if record.commit else -1
        forgotten = vote.kind is Kind.COMMIT and vote.round > known
        if (vote.height, vote.round) <= record.lease and not forgotten:
            return None
        self.record, self.signed = None, {}
        return DISTRUSTED.encode()

    def report(self, member: Address, head_height: Height) -> None:
        """Note the head of another member, as first heard since this process started."""
        if self.record is None and member != self.address:
            self._reports[member] = min(head_height, self._reports.get(member, head_height))

    def regain(self, validators: Collection[Address], height: Height) -> bytes | None:
        """Without a record: one that signs only after S + 2 is final, once S is known.

        S is the highest certified head among the reports of a quorum of *other* members. What we
        may have signed at height X followed block X - 1, which a quorum signed having X - 2; one of
        the reports is of an honest one of them. A report counts once our own chain reaches it, for
        every block of it is certified.
        """
        heads = [h for who, h in self._reports.items() if who in validators and h < height]
        if self.record is not None or len(heads) < quorum(len(validators)):
            return None
        self.record = SignerRecord((max(max(heads) + 2, height) + 1, 0))
        self.signed, self.mute, self.found = {}, False, False
        return self.record.encode()
