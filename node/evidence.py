"""What validators signed and no honest one signs both: kept on disk, shown to operators.

The votes are kept whole, with their signatures, so that anybody can check the accusation. Not here:
how it is found (`ledger.consensus.votes`), what a network does about it (its administrators).
"""

from typing import Any

from ledger.consensus.messages import Kind, decode_vote
from ledger.consensus.votes import Evidence
from ledger.crypto.address import to_checksum
from ledger.encoding.packed import pack, unpack
from ledger.errors import EncodingError
from ledger.store.base import Store
from ledger.types import Address

META_KEY = "node/evidence"
KEPT_PER_VALIDATOR = 4
"""The first ones: they prove as much as a thousand, and a liar cannot wear out the card."""


class EvidenceShelf:
    """The evidence of a data folder, oldest first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        saved = store.get_meta(META_KEY)
        self.kept = _decode(saved) if saved is not None else []

    def keep(self, evidence: Evidence) -> bool:
        """Keep it on disk, unless there is enough of this validator; whether it was kept."""
        slot = (evidence.author, *evidence.first[:3])
        of_author = [one for one in self.kept if one.author == evidence.author]
        known = any((one.author, *one.first[:3]) == slot for one in of_author)
        if known or len(of_author) >= KEPT_PER_VALIDATOR:
            return False
        self._store.put_durable(META_KEY, _encode([*self.kept, evidence]))
        self.kept.append(evidence)
        return True

    def describe(self) -> list[dict[str, Any]]:
        """For wattledger_status; the signatures are over what `ledger.consensus.messages` says."""
        return [
            {
                "validator": to_checksum(one.author),
                "message": one.first.kind.name,
                "height": one.first.height,
                "round": one.first.round,
                "signed": [
                    {
                        "digest": "0x" + (vote.digest or b"").hex(),
                        "preparedRound": vote.prepared_round,
                        "signature": "0x" + vote.signature.hex(),
                    }
                    for vote in (one.first, one.second)
                ],
            }
            for one in self.kept
        ]

    def say(self, name: Address) -> str:
        """In a sentence, what one validator did last; "" where it did nothing."""
        of_author = [one for one in self.kept if one.author == name]
        if not of_author:
            return ""
        first = of_author[-1].first
        where = f"block {first.height}, round {first.round}"
        return f"signed two different {_WORDS[first.kind]} of {where}"


_WORDS = {
    Kind.PROPOSAL: "proposals",
    Kind.PREPARE: "PREPARE votes",
    Kind.COMMIT: "COMMIT votes",
    Kind.ROUND_CHANGE: "ROUND-CHANGE votes",
}


def _encode(kept: list[Evidence]) -> bytes:
    return pack(tuple((one.author, one.first, one.second) for one in kept))


def _decode(data: bytes) -> list[Evidence]:
    kept = []
    for item in unpack(data, "evidence"):
        match item:
            case (bytes() as author, first, second):
                kept.append(Evidence(author, decode_vote(first), decode_vote(second)))
            case _:
                raise EncodingError("evidence: an item is the list (author, vote, vote)")
    return kept
