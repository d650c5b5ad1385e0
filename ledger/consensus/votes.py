"""The messages of one height: one per author, kind and round, the newest few rounds of each.

At most 4 kinds x ROUNDS_KEPT x members messages, so an author can fill only its own slots. Who may
stand here is decided before (`qbft` authenticates); what counts is decided in `justification`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger.consensus.messages import Kind, Message, Status, Vote
from ledger.types import Address, Hash32, Height

ROUNDS_KEPT = 4  # by then the older rounds of an author have been abandoned by a quorum

EVIDENCE_MAX = 64  # one a slot, the newest; a report to the operator, not an archive


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two votes that no honest member signs both: one kind, height and round, two contents."""

    author: Address
    first: Vote
    second: Vote


class Contradictions:
    """The newest evidence, one a slot; `fresh` is what nobody was told of yet."""

    def __init__(self) -> None:
        self.kept: dict[tuple[Address, Kind, Height, int], Evidence] = {}
        self.fresh: list[Evidence] = []

    def note(self, author: Address, first: Vote, second: Vote) -> None:
        slot = (author, *first[:3])
        if slot in self.kept:
            return
        self.kept[slot] = Evidence(author, first, second)
        self.fresh.append(self.kept[slot])
        if len(self.kept) > EVIDENCE_MAX:
            del self.kept[next(iter(self.kept))]


class Votes:
    """`latest` is the highest round in which each author was heard, `round_changes` the highest for
    which it sent a ROUND-CHANGE, `held_bytes` what is kept of its messages just now. Evidence goes
    to who keeps it longer than a height."""

    def __init__(self, evidence: Contradictions) -> None:
        self.latest: dict[Address, int] = {}
        self.round_changes: dict[Address, int] = {}
        self.held_bytes: Counter[Address] = Counter()
        self._slots: dict[tuple[Kind, int], dict[Address, Message]] = {}
        self._came_ms: dict[tuple[Kind, int, Address], int] = {}
        self._evidence = evidence

    def lacks(self, author: Address, message: Message) -> bool:
        """Whether a message says something new. One that contradicts its author is evidence.

        A ROUND-CHANGE known by its signature alone is completed by what travels with it.
        """
        known = self.of(message.vote.kind, message.vote.round).get(author)
        if known is None:
            return True
        if known.vote == message.vote:
            return message.complete and not known.complete
        self._evidence.note(author, known.vote, message.vote)
        return False

    def compare(self, author: Address, vote: Vote) -> None:
        """Look at a vote that another's message carries, which says nothing new by itself."""
        known = self.of(vote.kind, vote.round).get(author)
        if known is not None and known.vote != vote:
            self._evidence.note(author, known.vote, vote)

    def add(self, author: Address, message: Message, now_ms: int = 0) -> bool:
        """Keep a message; False if it says nothing new or is older than the rounds kept."""
        if not self.lacks(author, message):
            return False
        kind, round_ = message.vote.kind, message.vote.round
        if len(self._slots) >= ROUNDS_KEPT:
            rounds = {r for (k, r), slot in self._slots.items() if k is kind and author in slot}
            if len(rounds | {round_}) > ROUNDS_KEPT:
                oldest = min(rounds)
                if round_ < oldest:
                    return False
                self._drop(kind, oldest, author)
        slot = self._slots.setdefault((kind, round_), {})
        if author in slot:
            self.held_bytes[author] -= slot[author].size_bytes
        slot[author] = message
        self._came_ms[kind, round_, author] = now_ms
        self.held_bytes[author] += message.size_bytes
        self.hear(author, round_)
        if kind is Kind.ROUND_CHANGE:
            self.round_changes[author] = max(round_, self.round_changes.get(author, 0))
        return True

    def give_up(self, author: Address) -> None:
        """Let go of all that an author said."""
        for kind, round_ in list(self._slots):
            self._drop(kind, round_, author)

    def _drop(self, kind: Kind, round_: int, author: Address) -> None:
        slot = self.of(kind, round_)
        message = slot.pop(author, None)
        if message is not None:
            self.held_bytes[author] -= message.size_bytes
            del self._came_ms[kind, round_, author]
            if not slot:  # else ever new rounds of one author would leave a slot each
                del self._slots[kind, round_]

    def hear(self, author: Address, round_: int) -> None:
        """An author was in this round, also where that is known from what another sent."""
        self.latest[author] = max(round_, self.latest.get(author, 0))

    def of(self, kind: Kind, round_: int) -> dict[Address, Message]:
        return self._slots.get((kind, round_), {})

    def rounds_of(self, kind: Kind, lowest: int = 0) -> list[int]:
        """The rounds from `lowest` on with messages of a kind, newest first."""
        return sorted([r for k, r in self._slots if k is kind and r >= lowest], reverse=True)

    def votes_for(self, kind: Kind, round_: int, digest: Hash32 | None) -> dict[Address, Vote]:
        """Who voted for a block in a round, in the order of addresses."""
        slot = sorted(self.of(kind, round_).items())
        return {author: said.vote for author, said in slot if said.vote.digest == digest}

    def find_committed(self, quorum: int) -> tuple[int, Hash32] | None:
        """The round and block that a quorum of COMMITs of one round decided, if any."""
        for (kind, round_), slot in self._slots.items():
            if kind is not Kind.COMMIT or len(slot) < quorum:
                continue
            for digest, count in Counter(said.vote.digest for said in slot.values()).items():
                if count >= quorum and digest is not None:
                    return round_, digest
        return None

    def messages(self) -> Iterator[tuple[Address, Message]]:
        """Everything, lowest round first, a PROPOSAL before what answers it."""
        for key in sorted(self._slots, key=lambda key: (key[1], key[0])):
            yield from tuple(self.of(*key).items())

    def masks(self, validators: Sequence[Address]) -> dict[tuple[int, int], int]:
        """(kind, round) -> a bit for each validator who needs not be heard again."""
        masks: dict[tuple[int, int], int] = {}
        for key, slot in self._slots.items():
            known = {who for who, message in slot.items() if message.complete}
            masks[int(key[0]), key[1]] = sum(1 << i for i, v in enumerate(validators) if v in known)
        return masks

    def find_missing(
        self, status: Status, validators: Sequence[Address], until_ms: int
    ) -> Iterator[Message]:
        """What a peer at this height lacks: the rounds it is in or above, and COMMITs of any.

        Only what came until then: the rest is on its way to the peer too, from its author.
        """
        heard = {(kind, round_): mask for kind, round_, mask in status.heard}
        index = {validator: i for i, validator in enumerate(validators)}
        for author, message in self.messages():
            vote = message.vote
            wanted = vote.round >= status.round or vote.kind is Kind.COMMIT
            wanted |= vote.kind is Kind.PROPOSAL and bool(self.of(Kind.COMMIT, vote.round))
            has = heard.get((vote.kind, vote.round), 0) >> index[author] & 1
            lately = self._came_ms[vote.kind, vote.round, author] > until_ms
            if wanted and message.complete and not has and not lately:
                yield message
