"""A validator that lies. It runs an honest engine to know what is going on, and says other things.

It equivocates as proposer, votes for every block it has seen, withholds or sends to few, hides what
it prepared, forges justifications, replays, and speaks for rounds and heights far away. It has one
key and cannot forge another's signature.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ledger.block import Certificate, encode_block
from ledger.consensus import events as ev
from ledger.consensus.justification import compute_proposer
from ledger.consensus.messages import (
    Kind,
    Message,
    Network,
    Vote,
    decode_message,
    sign_vote,
)
from ledger.errors import LedgerError
from tests.simulator.node import Node
from tests.simulator.stand_ins import CHAIN_ID, GENESIS_HASH, make_block

if TYPE_CHECKING:
    from tests.simulator.world import World

NETWORK = Network(CHAIN_ID, GENESIS_HASH)
MISCHIEF_MS = 150
HEARD_MAX = 200


class Byzantine(Node):
    honest = False

    def __init__(self, world: World, index: int) -> None:
        super().__init__(world, index)
        self._heard: list[Message] = []

    def _begin(self) -> None:
        super()._begin()
        self.at(MISCHIEF_MS, self._each_mischief)

    def step(self, event: ev.Event) -> None:
        if isinstance(event, ev.Received):
            self._hear(event.message)
        super().step(event)

    def _hear(self, data: bytes) -> None:
        try:
            self._heard.append(decode_message(data))
        except LedgerError:
            return
        del self._heard[:-HEARD_MAX]

    def _sign(
        self,
        kind: Kind,
        height: int,
        round_: int,
        digest: bytes | None,
        prepared: int | None = None,
    ) -> Vote:
        return sign_vote(self.key, NETWORK, Vote(kind, height, round_, digest, prepared, b""))

    def _digests(self, height: int) -> list[bytes]:
        """Blocks of a height that were named by anybody."""
        named = {message.vote.digest for message in self._heard if message.vote.height == height}
        return sorted(digest for digest in named if digest is not None)

    def _tell(self, message: Message, targets: Iterable[int]) -> None:
        data = message.encode()
        self._hear(data)
        for target in targets:
            if target != self.index:
                self._transmit(target, data)

    def _some(self) -> list[int]:
        """Whom to tell: nobody, one, some or all."""
        return [i for i in range(len(self.world.nodes)) if self.world.random.randrange(2)]

    # Instead of what the honest engine would send.

    def send(self, message: bytes, to: bytes | None) -> None:
        said = decode_message(message)
        self._hear(message)
        random = self.world.random
        if self.world.authors.author_of(said.vote) != self.address:
            return
        if random.randrange(4) == 0:
            super().send(message, to)  # truth, now and then
            return
        half = self._some()
        rest = [i for i in range(len(self.world.nodes)) if i not in half]
        kind, height, round_, digest, *_ = said.vote
        self._tell(said, half)
        if kind is Kind.PROPOSAL:
            self._tell(self._make_rival(said), rest)
        elif kind is Kind.ROUND_CHANGE:
            self._tell(Message(self._sign(kind, height, round_, None)), rest)
        else:
            for other in self._digests(height):
                if other != digest:
                    self._tell(Message(self._sign(kind, height, round_, other)), rest)

    def _make_rival(self, said: Message, lie: int | None = None) -> Message:
        """Another block for the same round: with a true justification that does not fit it, with
        only what hides a lock, or with our own claim that just this block was prepared before."""
        random = self.world.random
        timestamp = max(0, self.world.now_ms // 1_000)
        height, round_ = said.vote.height, said.vote.round
        block = make_block(self.head_hash, height, self.address, timestamp, random)
        self.world.contents[block.hash] = frozenset()
        vote = self._sign(Kind.PROPOSAL, height, round_, block.hash)
        changes, prepares = said.round_changes, said.prepares
        lie = random.randrange(4) if lie is None else lie
        if lie == 0:
            changes = tuple(change for change in changes if change.prepared_round is None)
        elif lie == 1 and round_ > 0:
            others = [v for v in changes if self.world.authors.author_of(v) != self.address]
            claim = self._sign(Kind.ROUND_CHANGE, height, round_, block.hash, round_ - 1)
            changes = (*others, claim)
            own = self._sign(Kind.PREPARE, height, round_ - 1, block.hash)
            prepares = (own, *prepares[1:]) if random.randrange(2) else (own,) * 3
        elif lie == 2:
            prepares = ()
        return Message(vote, encode_block(block), changes, prepares)

    def serve(self, asker: int, height: int) -> None:
        """To who catches up: the truth, or a block of its own with a certificate that is none."""
        random, n = self.world.random, len(self.world.nodes)
        if random.randrange(3) == 0:
            super().serve(asker, height)
            return
        node = self.world.nodes[asker]
        block = make_block(node.head_hash, height, self.address, 0, random)
        own = self._sign(Kind.COMMIT, height, 0, block.hash).signature
        true = list(self.disk.blocks[height - 1 : height])
        seals: tuple[bytes, ...] = random.choice(
            ((own,) * n, (own,) * 10_000, (bytes(65),) * n, (own, *[bytes(65)] * (n - 1)))
        )
        if true and random.randrange(2):
            block, seals = true[0][0], true[0][1].signatures[: (n - 1) // 3 + 1]
        false = Certificate(height, 0, block.hash, seals)
        self.world.transmit(self.index, asker, lambda node: node.take_blocks([(block, false)]))

    # Out of turn.

    def _each_mischief(self) -> None:
        self.at(MISCHIEF_MS, self._each_mischief)
        if not self._heard:
            return
        height = self.head_height + 1
        random = self.world.random
        acts = (self._vote_for_all, self._replay, self._forge, self._cry_wolf, self._mangle)
        random.choice(acts)(height, random.choice(self._heard))

    def _vote_for_all(self, height: int, about: Message) -> None:
        for digest in self._digests(height):
            for kind in (Kind.PREPARE, Kind.COMMIT):
                vote = self._sign(kind, height, about.vote.round, digest)
                self._tell(Message(vote), self._some())

    def _replay(self, height: int, about: Message) -> None:
        self._tell(about, self._some())

    def _forge(self, height: int, about: Message) -> None:
        """As the proposer of a later round: a fresh block with whatever ROUND-CHANGEs there are."""
        random, n = self.world.random, len(self.world.nodes)
        for round_ in range(1, 8):
            if compute_proposer(self.world.validators_at(height), height, round_) != self.address:
                continue
            changes = [
                message.vote
                for message in self._heard
                if message.vote[:3] == (Kind.ROUND_CHANGE, height, round_)
            ]
            changes += [self._sign(Kind.ROUND_CHANGE, height, round_, None)] * random.randrange(3)
            distinct = list({vote.signature: vote for vote in changes}.values())
            if random.randrange(2):
                distinct = [vote for vote in distinct if vote.prepared_round is None]
            base = Message(self._sign(Kind.PROPOSAL, height, round_, bytes(32)))
            chosen = (changes if random.randrange(4) == 0 else distinct)[:n]
            self._tell(replace(self._make_rival(base), round_changes=tuple(chosen)), self._some())

    def _cry_wolf(self, height: int, about: Message) -> None:
        """A round or a height far away."""
        random = self.world.random
        round_ = random.choice((1, 2, 3, 1_000_000))
        far = height + random.choice((0, 0, 1, 2, 9))
        self._tell(Message(self._sign(Kind.ROUND_CHANGE, far, round_, None)), self._some())
        claimed = self._sign(Kind.ROUND_CHANGE, height, round_, random.randbytes(32), 0)
        self._tell(Message(claimed), self._some())

    def _mangle(self, height: int, about: Message) -> None:
        """Another's vote without, or with other, things travelling with it."""
        if about.vote.kind in (Kind.PROPOSAL, Kind.ROUND_CHANGE):
            cut = replace(about, prepares=about.prepares[:1], round_changes=about.round_changes[:2])
            self._tell(replace(cut, block=None) if len(self._heard) % 2 else cut, self._some())


class Forger(Byzantine):
    """Tells its COMMIT of round 0 to A alone, withholds its votes after that and, once it is the
    proposer, claims that a block of its own was prepared, with PREPAREs that are all its own."""

    def step(self, event: ev.Event) -> None:
        """Deaf to COMMITs, so that its engine goes through the rounds with the others."""
        deaf = isinstance(event, ev.Received)
        if not deaf or decode_message(event.message).vote.kind is not Kind.COMMIT:  # type: ignore[union-attr]
            super().step(event)

    def send(self, message: bytes, to: bytes | None) -> None:
        said = decode_message(message)
        kind, height, round_, *_ = said.vote
        everybody = range(len(self.world.nodes))
        if round_ == 0 or kind is Kind.ROUND_CHANGE:
            self._tell(said, [0] if kind is Kind.COMMIT else everybody)
        elif kind is Kind.PROPOSAL:
            rival = self._make_rival(said, lie=1)
            own = self._sign(Kind.PREPARE, height, round_ - 1, rival.vote.digest)
            self._tell(replace(rival, prepares=(own,) * 3), everybody)
            for voted in (Kind.PREPARE, Kind.COMMIT):
                self._tell(Message(self._sign(voted, height, round_, rival.vote.digest)), everybody)

    def _each_mischief(self) -> None:
        """It has a plan and does nothing else."""

    def serve(self, asker: int, height: int) -> None:
        """It has no blocks for anybody."""
