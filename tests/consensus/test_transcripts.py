"""Small networks told as prose, word for word: what a change of the engine does is read here.

Messages arrive in the order they were sent; blocks are built and checked at once. After a change
that is meant, run with REWRITE=1 in the environment and read the difference.
"""

import os
from collections import deque
from pathlib import Path

import pytest

from ledger.consensus import events as ev
from ledger.consensus.messages import Kind, Message, Status, decode_message
from ledger.consensus.signer import decode_record
from tests.consensus.desk import NAMES, TIMEOUT_MS, Desk, block_of
from tests.simulator.stand_ins import GENESIS_HASH

FOLDER = Path(__file__).parent / "transcripts"


class Narrator:
    """Nodes at one table; `silent` ones neither say nor hear anything."""

    def __init__(self, silent: str = "", names: str = "ABCD") -> None:
        self.lines: list[str] = []
        self.silent = silent
        self.names = names
        self.desks = {name: Desk(len(names), name, start=False) for name in names}
        self.blocks: dict[bytes, str] = {}
        self.mail: deque[tuple[str, str, bytes]] = deque()
        self.lost: set[tuple[str, Kind]] = set()
        for name in self.up():
            self.desks[name].start()

    def up(self) -> list[str]:
        return [name for name in self.names if name not in self.silent]

    def start_again(self, name: str) -> None:
        """With what its disk holds; the others tell it how far they are."""
        desk = self.desks[name]
        self.step(name, ev.Started(0, GENESIS_HASH, tuple(desk.addresses), desk.disk))
        others = [other for other in self.up() if other != name]
        self.lines.append(f"    {name} hears from {', '.join(others)} that they are no further.")
        for other in others:
            address = desk.address(other)
            self.step(name, ev.PeerStatus(address, Status(1, 0, False), address))

    def told(self) -> str:
        return "\n".join(self.lines) + "\n"

    def title(self, text: str) -> None:
        self.lines += ["", text, ""] if self.lines else [text, ""]

    def step(self, name: str, event: ev.Event, after_ms: int = 0) -> None:
        for effect in self.desks[name].step(event, after_ms):
            self.carry_out(name, effect)

    def carry_out(self, name: str, effect: ev.Effect) -> None:
        match effect:
            case ev.Persist(data):
                record = decode_record(data)
                held = f", locked on {self.name_of(record.commit.digest)}" if record.commit else ""
                if record.note is not None:
                    held += f", and that it signed {len(record.note)} in it and stops cleanly"
                self.lines.append(f"    {name} writes its lease of {record.lease}{held}.")
            case ev.Send(message):
                said = decode_message(message)
                self.lines.append(f"    {name} says {self.phrase(said)}.")
                if (name, said.vote.kind) not in self.lost:
                    self.mail += [(name, to, message) for to in self.up() if to != name]
            case ev.Accuse(evidence):
                author = NAMES[self.desks[name].addresses.index(evidence.author)]
                kind, _, round_, *_ = evidence.first
                self.lines.append(
                    f"    {name} accuses {author} of two {kind.name}s in round {round_}: "
                    f"{self.name_of(evidence.first.digest)} and "
                    f"{self.name_of(evidence.second.digest)}."
                )
            case ev.Reject(_, reason):
                self.lines.append(f"    {name} rejects it: {reason}.")
            case ev.FetchBlock(height, _, _):
                self.lines.append(f"    {name} asks for block {height}.")
            case ev.BuildBlock(height, round_):
                block = block_of(self.desks[name].address(name), round_)
                self.blocks[block.hash] = f"block {name.lower()}{round_}"
                self.lines.append(f"    {name} builds {self.name_of(block.hash)}.")
                self.step(name, ev.BlockBuilt(height, round_, block))
            case ev.CheckBlock(block):
                self.lines.append(f"    {name} finds {self.name_of(block.hash)} valid.")
                self.step(name, ev.BlockChecked(block.hash, ev.Verdict.VALID))
            case ev.CommitBlock(block, certificate, _):
                by = "".join(NAMES[i] for i in self.signers(certificate.signatures, block.hash))
                self.lines.append(
                    f"    {name} imports {self.name_of(block.hash)}, certified in round "
                    f"{certificate.round} by {by}, with the lease of the next height."
                )
                validators = tuple(self.desks[name].addresses)
                imported = ev.BlockImported(block.number, block.hash, validators, False)
                self.step(name, imported)

    def signers(self, signatures: tuple[bytes, ...], digest: bytes) -> list[int]:
        desk = self.desks["A"]
        by_seal = {
            desk.vote(name, Kind.COMMIT, round_, digest).signature: i
            for i, name in enumerate(self.names)
            for round_ in range(4)
        }
        return [by_seal[signature] for signature in signatures]

    def deliver(self) -> None:
        while self.mail:
            source, target, message = self.mail.popleft()
            self.step(target, ev.Received(source.encode(), message))

    def name_of(self, digest: bytes | None) -> str:
        return self.blocks[digest] if digest is not None else "nothing"

    def phrase(self, said: Message) -> str:
        vote = said.vote
        if vote.kind is Kind.ROUND_CHANGE:
            if vote.prepared_round is None:
                return f"ROUND-CHANGE to round {vote.round}, nothing prepared"
            return (
                f"ROUND-CHANGE to round {vote.round}, {self.name_of(vote.digest)} prepared in "
                f"round {vote.prepared_round} by {len(said.prepares)}"
            )
        text = f"{vote.kind.name} of {self.name_of(vote.digest)} in round {vote.round}"
        if said.round_changes:
            text += f", with {len(said.round_changes)} ROUND-CHANGEs"
            text += f" and {len(said.prepares)} PREPAREs" if said.prepares else ""
        return text

    def wait(self, ms: int) -> None:
        self.lines.append(f"    ({ms} ms pass)")
        for name in self.up():
            self.step(name, ev.Woke(), ms)
        self.deliver()

    def work(self) -> None:
        for name in self.up():
            self.step(name, ev.WorkWaiting(True))
        self.deliver()


def transcript(name: str, table: Narrator) -> str:
    """What the file of that name says; with REWRITE, what the table told just now."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("REWRITE"):
        path.write_text(table.told())
    return path.read_text()


def test_the_normal_case() -> None:
    table = Narrator()
    table.title("Four validators at height 1; B is the proposer of round 0. A transaction waits.")
    table.work()
    assert table.told() == transcript("normal_case", table)


def test_a_round_change_without_a_lock() -> None:
    table = Narrator(silent="B")
    table.title("B, the proposer of round 0, is down. A transaction waits.")
    table.work()
    table.wait(TIMEOUT_MS)
    assert table.told() == transcript("round_change", table)


def test_a_round_change_with_a_lock() -> None:
    table = Narrator()
    table.title("All COMMITs of round 0 are lost.")
    table.lost = {(name, Kind.COMMIT) for name in "ABCD"}
    table.work()
    table.title("The round times out; C proposes the locked block again.")
    table.lost.clear()
    table.wait(TIMEOUT_MS)
    assert table.told() == transcript("round_change_with_a_lock", table)


def test_a_restart_in_the_middle() -> None:
    table = Narrator()
    table.title("COMMITs are lost, and A loses power after it has sent its own.")
    table.lost = {(name, Kind.COMMIT) for name in "ABCD"}
    table.work()
    table.title("A starts again and sends what its disk holds. The others hear it now.")
    table.lost.clear()
    table.start_again("A")
    table.deliver()
    table.title("The round times out for all.")
    table.wait(TIMEOUT_MS)
    assert table.told() == transcript("restart", table)


def test_a_proposer_that_equivocates() -> None:
    table = Narrator(silent="B")
    one, two = (block_of(table.desks["B"].address("B"), seed) for seed in (1, 2))
    table.blocks |= {one.hash: "block b-one", two.hash: "block b-two"}
    table.title("B proposes one block to A and C, and another to D.")
    desk = table.desks["A"]
    first, second = desk.propose("B", one), desk.propose("B", two)
    table.mail += [("B", name, first.encode()) for name in "AC"]
    table.mail.append(("B", "D", second.encode()))
    table.deliver()
    table.title("Neither has a quorum. A and D compare what they hold.")
    for name, other in (("A", second), ("D", first)):
        table.step(name, ev.Received(b"?", other.encode()))
    table.title("The round times out, and C proposes.")
    table.wait(TIMEOUT_MS)
    assert table.told() == transcript("equivocation", table)


def test_f_plus_1_pull_the_rest_along() -> None:
    table = Narrator(silent="D")
    table.title("Nothing waits. B and C have restarted and are in round 3; A hears of it.")
    desk = table.desks["A"]
    for name in "BC":
        table.step("A", ev.Received(b"?", desk.change(name, 3).encode()))
    table.title("B and C hear A, which is the proposer of round 3 and has three with itself.")
    table.deliver()
    assert table.told() == transcript("skip", table)


def test_three_validators_of_which_one_is_down() -> None:
    table = Narrator(silent="A", names="ABC")
    table.title("Three validators, A is down; two are a quorum. A transaction waits.")
    table.work()
    assert table.told() == transcript("two_of_three", table)


def test_a_clean_stop_and_start() -> None:
    table = Narrator()
    table.title("All PREPAREs are lost; then A is stopped cleanly and started again.")
    table.lost = {(name, Kind.PREPARE) for name in "ABCD"}
    table.work()
    table.step("A", ev.Stopping())
    table.lost.clear()
    table.start_again("A")
    table.deliver()
    table.title("The round times out for all.")
    table.wait(TIMEOUT_MS)
    assert table.told() == transcript("clean_stop", table)


def test_one_that_was_away_is_told_by_a_certificate() -> None:
    table = Narrator(silent="D")
    table.title("D is cut off. A transaction waits.")
    table.work()
    table.title("D is back and is given the block with its certificate, whatever round it is in.")
    table.silent = ""
    d = table.desks["D"]
    d.start()
    block = block_of(d.address("B"), 0)
    event = ev.CertifiedBlock(b"?", block, d.certify("ABC", block))
    table.step("D", event)
    assert table.told() == transcript("caught_up", table)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_a_transcript_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 80
