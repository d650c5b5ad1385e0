"""Three bugs that a signer's disk could have, planted to show that the simulator finds them.

Each is planted in every node of a world, at the disk: the engine under test is untouched.
"""

from dataclasses import replace

from ledger.consensus.signer import SignerRecord, decode_record
from tests.simulator.node import Node


def lose_prepared_certificate(node: Node) -> None:
    """The lock is not there after a restart: a quorum may prepare another block."""

    def distort(data: bytes | None, height: int) -> bytes | None:
        return replace(decode_record(data), prepared=None).encode() if data else None

    node.disk.distort = distort


def forget_leases(node: Node) -> None:
    """Only a COMMIT is remembered: after a restart the node is back in its round, or in round 0."""

    def distort(data: bytes | None, height: int) -> bytes | None:
        record = decode_record(data) if data else None
        if record is None or record.lease[0] != height or record.commit is None:
            return SignerRecord((height, 0), note=()).encode()
        lease = height, record.commit.round
        return replace(record, lease=lease, note=(record.commit,)).encode()

    node.disk.distort = distort


def keep_clean_stop_note(node: Node) -> None:
    """The note of a clean stop stays, and a crash later in the same round it is believed again."""

    def tamper(old: bytes | None, new: bytes) -> bytes:
        before, after = decode_record(old) if old else None, decode_record(new)
        if before and after.note is None and before.lease == after.lease:
            return replace(after, note=before.note).encode()
        return new

    node.disk.tamper = tamper


PLANTS = {
    "prepared certificate lost": lose_prepared_certificate,
    "no leases": forget_leases,
    "clean-stop note not erased": keep_clean_stop_note,
}
