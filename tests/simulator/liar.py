"""A validator of a realm that lies in every kind of frame there is.

Its node is an honest one, so that it knows what is going on; what leaves the machine is bent, left
out, doubled, or made up. It has one key and cannot forge another's signature.
"""

from random import Random
from typing import Any

import msgpack

from ledger.block import decode_block, encode_block
from ledger.consensus.justification import compute_proposer
from ledger.consensus.messages import (
    Kind as VoteKind,
)
from ledger.consensus.messages import (
    Message,
    Network,
    Status,
    Vote,
    decode_message,
    sign_vote,
)
from node.peers.frames import Kind, encode_frame
from tests.simulator.clockwork import EPOCH_S
from tests.simulator.realm import Machine
from tests.simulator.stand_ins import CHAIN_ID, KEYS, make_block

TRUTH_PERCENT = 60
"""It must stay connected to do harm."""


class Liar(Machine):
    honest = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._random = Random(f"{self.realm.seed} liar")
        self._digests: list[bytes] = [bytes(32)]

    def distort(self, frame: bytes) -> list[bytes]:
        kind = frame[1]
        if kind == Kind.CONSENSUS:
            return self._distort_vote(frame)
        if kind < Kind.STATUS or self._random.randrange(100) < TRUTH_PERCENT:
            return [frame]
        fields = msgpack.unpackb(frame, use_list=True)[1:]
        lie = _LIES.get(kind)
        return self._lie_bytes(frame) if lie is None else lie(self, fields)

    # Votes.

    def _distort_vote(self, frame: bytes) -> list[bytes]:
        """The truth, nothing, or to this one the contrary of what it tells the others."""
        message = decode_message(msgpack.unpackb(frame)[1])
        vote, random = message.vote, self._random
        if vote.digest is not None and vote.digest not in self._digests:
            self._digests = [*self._digests[-20:], vote.digest]
        choice = random.randrange(6)
        if choice < 3:
            return [frame]
        if choice == 3:
            return []
        digest = random.choice(self._digests)
        if choice == 4 and vote.kind is not VoteKind.ROUND_CHANGE:
            return [frame, self._vote(message, vote._replace(digest=digest))]
        if vote.kind is VoteKind.PROPOSAL:
            return [self._bend_proposal(message)]
        ahead = random.choice((1, 2, 3, 1_000_000))
        far = Vote(VoteKind.ROUND_CHANGE, vote.height, vote.round + ahead, None, None, b"")
        return [frame, self._vote(Message(vote), far)]

    def equivocate(self, frame: bytes) -> list[bytes]:
        """Two votes or proposals in place of each of its own; who hears which first is chance."""
        if frame[1] != Kind.CONSENSUS:
            return [frame]
        message = decode_message(msgpack.unpackb(frame)[1])
        vote = message.vote
        if self.realm.watch.authors.author_of(vote) != self.address or vote.digest is None:
            return [frame]
        if vote.kind is VoteKind.PROPOSAL:
            both = [frame, self._bend_proposal(message, 1)]
        elif vote.kind is VoteKind.ROUND_CHANGE:
            both = [frame]
        else:
            both = [frame, self._vote(message, vote._replace(digest=bytes(32)))]
        self._random.shuffle(both)
        return both

    def _vote(self, message: Message, vote: Vote) -> bytes:
        network = Network(CHAIN_ID, self.realm.watch.genesis_hash)
        signed = sign_vote(self.key, network, vote)
        rest = message.block, message.round_changes, message.prepares
        return encode_frame(Kind.CONSENSUS, Message(signed, *rest).encode())

    def _bend_proposal(self, message: Message, lie: int | None = None) -> bytes:
        """Another time or root in the block, or a justification with something missing."""
        assert message.block is not None
        block = decode_block(message.block)
        lie = self._random.randrange(4) if lie is None else lie
        header = block.header
        if lie == 0:
            header = header.__class__(**_fields(header) | {"state_root": bytes(32)})
        elif lie == 1:
            header = header.__class__(**_fields(header) | {"timestamp": header.timestamp + 1})
        elif lie == 2:
            message = Message(message.vote, message.block, message.round_changes[:1])
        else:
            message = Message(message.vote, message.block, message.round_changes, ())
        bent = encode_block(type(block)(header, block.transactions))
        digest = type(block)(header, block.transactions).hash
        changed = Message(message.vote, bent, message.round_changes, message.prepares)
        return self._vote(changed, message.vote._replace(digest=digest))

    def make_false_proposal(self, lie: str) -> Message:
        """Of the first round of height 1 in which it is the proposer, false in one respect."""
        network = Network(CHAIN_ID, self.realm.watch.genesis_hash)
        members = [machine.address for machine in self.realm.machines]
        round_ = next(r for r in range(1, 9) if compute_proposer(members, 1, r) == self.address)
        block = make_block(self.realm.watch.genesis_hash, 1, self.address, EPOCH_S, self._random)

        def say(key: bytes, kind: VoteKind, in_round: int, *rest: Any) -> Vote:
            return sign_vote(key, network, Vote(kind, 1, in_round, *rest, b""))

        keys = [KEYS[address] for address in members]
        change = VoteKind.ROUND_CHANGE
        if lie == "forged":
            own = say(self.key, change, round_, None, None)
            votes = [own, *(own._replace(signature=self._random.randbytes(65)) for _ in range(2))]
        elif lie == "doubled":
            votes = [say(self.key, change, round_, None, None)] * 3
        elif lie == "prepared round":
            votes = [say(key, change, round_, block.hash, round_) for key in keys[:3]]
        else:
            votes = [say(key, change, round_ + 1, None, None) for key in keys[:3]]
        proposal = say(self.key, VoteKind.PROPOSAL, round_, block.hash, None)
        return Message(proposal, encode_block(block), tuple(votes))

    # The other frames.

    def _lie_bytes(self, frame: bytes) -> list[bytes]:
        """Some of the bytes of what a node that catches up asks or is given, or nothing."""
        bent = bytearray(frame)
        for _ in range(self._random.randrange(4) if len(bent) > 2 else 0):
            bent[self._random.randrange(2, len(bent))] ^= 1 << self._random.randrange(8)
        return [bytes(bent)] if self._random.randrange(3) else []

    def _lie_compact(self, fields: list[Any]) -> list[bytes]:
        """A proposal of which nobody has the parts, or of other parts than its header says."""
        message, header, parts = fields[:3]
        made_up = [self._random.randbytes(32) for _ in range(len(parts) + 1)]
        return [encode_frame(Kind.COMPACT, message, header, self._random.choice(([], made_up)))]

    def _lie_parts(self, fields: list[Any]) -> list[bytes]:
        return [encode_frame(Kind.PARTS, fields[0], [self._random.randbytes(90)])]

    def _lie_addresses(self, fields: list[Any]) -> list[bytes]:
        places = [[self._random.randbytes(20), "10.9.9.9", 1] for _ in range(50)]
        return [encode_frame(Kind.ADDRESSES, places)]

    def _lie_status(self, fields: list[Any]) -> list[bytes]:
        neighbours = [*(fields[2] or []), bytes(20)]
        random = self._random
        far = Status(random.choice((0, 1, 10**6, 2**60)), random.randrange(5), True)
        encoded = random.choice((far.encode(), b"", random.randbytes(40)))
        return [encode_frame(Kind.STATUS, random.randbytes(32), encoded, neighbours)]

    def _lie_transactions(self, fields: list[Any]) -> list[bytes]:
        raws = [self._random.randbytes(80), *(bytes([raw[0] ^ 1]) + raw[1:] for raw in fields[0])]
        return [encode_frame(Kind.TRANSACTIONS, raws)]

    def _lie_hashes(self, fields: list[Any]) -> list[bytes]:
        made_up = [self._random.randbytes(32) for _ in range(100)]
        return [encode_frame(Kind.POOL_HASHES, made_up)]

    def _lie_wanting(self, fields: list[Any]) -> list[bytes]:
        return [encode_frame(Kind.GET_TRANSACTIONS, [self._random.randbytes(32)] * 1_000)]

    def _lie_asking(self, fields: list[Any]) -> list[bytes]:
        return [encode_frame(Kind.GET_BLOCKS, self._random.choice((0, 1, 2**62)), 2**62)] * 3

    def _lie_blocks(self, fields: list[Any]) -> list[bytes]:
        """Too few seals, another block, noise, nothing, or what nobody asked for."""
        first, blocks = fields[:2]
        lie = self._random.randrange(4)
        if lie == 0 or not blocks:
            return []
        if lie == 1:
            blocks = [[block, certificate[:-70]] for block, certificate in blocks]
        elif lie == 2:
            blocks = [[blocks[0][0], one[1]] for one in blocks[1:]]
        else:
            blocks = [[self._random.randbytes(50), b""]]
        return [encode_frame(Kind.BLOCKS, first, blocks)]


def _fields(header: Any) -> dict[str, Any]:
    return {name: getattr(header, name) for name in header.FIELDS if hasattr(header, name)}


_LIES: dict[int, Any] = {
    Kind.STATUS: Liar._lie_status,
    Kind.TRANSACTIONS: Liar._lie_transactions,
    Kind.POOL_HASHES: Liar._lie_hashes,
    Kind.GET_TRANSACTIONS: Liar._lie_wanting,
    Kind.GET_BLOCKS: Liar._lie_asking,
    Kind.BLOCKS: Liar._lie_blocks,
    Kind.COMPACT: Liar._lie_compact,
    Kind.PARTS: Liar._lie_parts,
    Kind.ADDRESSES: Liar._lie_addresses,
}
"""The others, of which some answer a node that catches up, are bent in their bytes."""
