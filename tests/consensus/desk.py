"""A desk with one engine on it and the keys of everybody, so that a test can play the others.

Members are named A, B, C ... in the order of their addresses. Signatures are real.
"""

from random import Random

from ledger.block import Block, Certificate, encode_block
from ledger.consensus import events as ev
from ledger.consensus.messages import (
    Kind,
    Message,
    Network,
    Status,
    Vote,
    decode_message,
    sign_vote,
)
from ledger.consensus.qbft import Qbft
from ledger.consensus.settings import Settings
from ledger.consensus.signer import SignerRecord, decode_record, initial_record
from tests.simulator.stand_ins import CHAIN_ID, GENESIS_HASH, KEYS, make_block

NETWORK = Network(CHAIN_ID, GENESIS_HASH)
TIMEOUT_MS = 1_000
TIMEOUT_MS_MAX = 8_000
NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def settings(**changes: object) -> Settings:
    known = {"round_timeout_ms": TIMEOUT_MS, "round_timeout_ms_max": TIMEOUT_MS_MAX}
    return Settings(CHAIN_ID, GENESIS_HASH, **({"block_period_ms": 0} | known | changes))  # type: ignore[arg-type]


def block_of(
    coinbase: bytes, seed: int = 0, number: int = 1, parent: bytes = GENESIS_HASH
) -> Block:
    return make_block(parent, number, coinbase, 7, Random(seed))


class Desk:
    """The engine of member `me` of n at height 1; `now_ms` is the test's to move."""

    def __init__(self, n: int = 4, me: str = "A", *, start: bool = True, **changes: object) -> None:
        self.addresses = sorted(list(KEYS)[:n])
        self.keys = [KEYS[address] for address in self.addresses]
        self.now_ms = 0
        self.disk: bytes | None = initial_record()
        self.me = me
        self.engine = Qbft(settings(**changes), self.keys[NAMES.index(me)])
        if start:
            self.start()

    def address(self, name: str) -> bytes:
        return self.addresses[NAMES.index(name)]

    def start(
        self,
        record: bytes | None = b"",
        head: int = 0,
        head_hash: bytes = GENESIS_HASH,
        *,
        alone: bool = False,
    ) -> list[ev.Effect]:
        """As a process does at its start; the record on the desk's disk unless told otherwise. All
        the others say that they are as far, unless it is alone."""
        data = self.disk if record == b"" else record
        effects = self.step(ev.Started(head, head_hash, tuple(self.addresses), data))
        if data is not None and not alone:
            for name in NAMES[: len(self.addresses)].replace(self.me, ""):
                effects += self.hear_of(name, head)
        return effects

    def hear_of(self, name: str, head: int) -> list[ev.Effect]:
        """The status of a member that has this head and nothing else to say."""
        address = self.address(name)
        return self.step(ev.PeerStatus(address, Status(head + 1, 0, False), address))

    def step(self, event: ev.Event, after_ms: int = 0) -> list[ev.Effect]:
        self.now_ms += after_ms
        effects = self.engine.step(event, self.now_ms)
        for effect in effects:
            match effect:
                case ev.Persist(record):
                    self.disk = record
                case ev.CommitBlock(_, _, lease) if lease is not None:
                    self.disk = lease
        return effects

    def wake(self, after_ms: int) -> list[ev.Effect]:
        return self.step(ev.Woke(), after_ms)

    def hear(self, *messages: Message) -> list[ev.Effect]:
        """Messages from a peer; what all of them led to."""
        return [one for said in messages for one in self.step(ev.Received(b"peer", said.encode()))]

    def check(self, block: Block, verdict: ev.Verdict = ev.Verdict.VALID) -> list[ev.Effect]:
        return self.step(ev.BlockChecked(block.hash, verdict))

    def record(self) -> SignerRecord:
        assert self.disk is not None
        return decode_record(self.disk)

    # What the others say.

    def vote(
        self,
        name: str,
        kind: Kind,
        round_: int = 0,
        digest: bytes | None = None,
        prepared_round: int | None = None,
        height: int = 1,
        network: Network = NETWORK,
    ) -> Vote:
        key = self.keys[NAMES.index(name)]
        return sign_vote(key, network, Vote(kind, height, round_, digest, prepared_round, b""))

    def votes(self, names: str, kind: Kind, round_: int, digest: bytes | None) -> list[Message]:
        return [Message(self.vote(name, kind, round_, digest)) for name in names]

    def prepares(self, names: str, round_: int, block: Block) -> tuple[Vote, ...]:
        return tuple(self.vote(name, Kind.PREPARE, round_, block.hash) for name in names)

    def change(
        self, name: str, round_: int, prepared: tuple[int, Block] | None = None, by: str = "ABC"
    ) -> Message:
        """A ROUND-CHANGE, with a block prepared by some in a round, or with nothing."""
        if prepared is None:
            return Message(self.vote(name, Kind.ROUND_CHANGE, round_))
        in_round, block = prepared
        vote = self.vote(name, Kind.ROUND_CHANGE, round_, block.hash, in_round)
        return Message(vote, encode_block(block), (), self.prepares(by, in_round, block))

    def propose(
        self,
        name: str,
        block: Block,
        round_: int = 0,
        changes: tuple[Message, ...] = (),
        prepares: tuple[Vote, ...] = (),
    ) -> Message:
        vote = self.vote(name, Kind.PROPOSAL, round_, block.hash)
        return Message(vote, encode_block(block), tuple(one.vote for one in changes), prepares)

    def certify(self, names: str, block: Block, round_: int = 0) -> Certificate:
        seals = [self.vote(name, Kind.COMMIT, round_, block.hash).signature for name in names]
        return Certificate(block.number, round_, block.hash, tuple(seals))

    def proposer(self, round_: int, height: int = 1) -> str:
        return NAMES[(height + round_) % len(self.addresses)]

    def imported(self, block: Block, *, waiting: bool = False) -> list[ev.Effect]:
        validators = tuple(self.addresses)
        return self.step(ev.BlockImported(block.number, block.hash, validators, waiting))


def of(kind: type, effects: list[ev.Effect]) -> list[ev.Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(effects: list[ev.Effect]) -> list[Message]:
    return [decode_message(effect.message) for effect in effects if isinstance(effect, ev.Send)]


def said(effects: list[ev.Effect]) -> list[tuple[str, int]]:
    """Kind and round of what was sent."""
    return [(message.vote.kind.name, message.vote.round) for message in sent(effects)]


def reasons(effects: list[ev.Effect]) -> list[str]:
    return [effect.reason for effect in effects if isinstance(effect, ev.Reject)]
