"""A node or meter as it is, run by a test that looks on: votes noted, killed at a write, clock off.

    python -m tests.e2e.witness FOLDER node run --config FILE

runs `wattledger node run --config FILE` in this process. In FOLDER the test and it talk by files:

    votes    written: a line for each vote sent, kind height round digest prepared-round
    writes   written: a line for each durable write of this life, its name
    kill     read at the start, "NAME SIDE N": SIGKILL at the N-th write so named ("any" is each),
             SIDE "before" or "after" the commit; the file is taken away, `killed` says where
    clock    read at each look at the wall clock: seconds to add to it, or "=T" where it stands
    wire     read at the start: the only versions of the wire it speaks, such as "1"
    wrong    while it is there, no block executes to the roots in its header

A durable write is a transaction of the chain's store or a meter's outbox; its name is that of the
method. The wall clock is Python's `time.time` and `time_ns`; what the C libraries see stays right.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def append(file: Path, line: str) -> None:
    """One write, which outlives a SIGKILL right after it."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode() + b"\n")
    finally:
        os.close(handle)


def bend_clock(file: Path) -> None:
    """Let the wall clock be off by what the file says, from now on and whenever it changes."""
    real_ns = time.time_ns

    def bent_ns() -> int:
        try:
            said = file.read_text()
            base_ns = 0 if said.startswith("=") else real_ns()
            return base_ns + int(float(said.lstrip("=")) * 1_000_000_000)
        except (FileNotFoundError, ValueError):  # right, or just being written
            return real_ns()

    time.time_ns = bent_ns
    time.time = lambda: bent_ns() / 1_000_000_000


def note_votes(file: Path) -> None:
    """Each vote that the key signs, when it first leaves: sent, or in a block's certificate. Until
    its lease is on disk a vote is in memory alone, and a kill takes it back."""
    from ledger.consensus import events as ev
    from ledger.consensus.signer import Signer
    from node.interpreter import Interpreter

    sign, carry_out = Signer.sign, Interpreter._carry_out
    signed: list[Any] = []

    def noting(self: Signer, *arguments: Any) -> Any:
        signed.append(sign(self, *arguments))
        return signed[-1]

    def leaving(self: Interpreter, effect: ev.Effect) -> None:
        if isinstance(effect, ev.Send | ev.CommitBlock):
            for vote in list(signed):
                if vote.signature in content_of(effect):
                    signed.remove(vote)
                    note(vote)
        carry_out(self, effect)

    def content_of(effect: ev.Send | ev.CommitBlock) -> Any:
        return effect.message if isinstance(effect, ev.Send) else effect.certificate.signatures

    def note(vote: Any) -> None:
        digest = (vote.digest or b"").hex() or "-"
        append(file, f"{vote.kind.name} {vote.height} {vote.round} {digest} {vote.prepared_round}")

    Signer.sign = noting  # type: ignore[method-assign]
    Interpreter._carry_out = leaving  # type: ignore[method-assign]


def speak_only(file: Path) -> None:
    """Be an older program, as far as its peers can tell."""
    if file.exists():
        from node.peers import frames

        frames.PROTOCOL_VERSIONS = tuple(map(int, file.read_text().split()))


def compute_wrongly(file: Path) -> None:
    """Be a machine with bad memory, while the file is there."""
    from ledger.chain import Chain
    from ledger.errors import InvalidBlock

    execute = Chain._execute

    def erring(self: Chain, block: Any) -> Any:
        if file.exists():
            raise InvalidBlock("block: wrong state_root")
        return execute(self, block)

    Chain._execute = erring  # type: ignore[method-assign]


class Failpoints:
    """Counts durable writes and ends this process at one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: dict[str, int] = {}
        self.wanted = ("", "", 0)
        orders = folder / "kill"
        if orders.exists():
            name, side, number = orders.read_text().split()
            self.wanted = (name, side, int(number))
            orders.unlink()
        (folder / "writes").write_bytes(b"")

    def pass_by(self, name: str, side: str) -> None:
        if side == "before":
            append(self.folder / "writes", name)
            for one in (name, "any"):
                self.counts[one] = self.counts.get(one, 0) + 1
        if any((one, side, self.counts[one]) == self.wanted for one in (name, "any")):
            append(self.folder / "killed", f"{name} {side}")
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, transaction: Callable[..., Any], rooms: tuple[str, ...]) -> Callable[..., Any]:
        """The same transaction with a failpoint on either side of its commit."""

        @contextmanager
        def failing(*arguments: Any) -> Iterator[Any]:
            name = name_of_write(rooms)
            with transaction(*arguments) as connection:
                yield connection
                self.pass_by(name, "before")
            self.pass_by(name, "after")

        return failing


def name_of_write(rooms: tuple[str, ...]) -> str:
    """The outermost function of these source files on the stack: what was asked to be written."""
    frame: Any = sys._getframe(1)
    name = "unknown"
    while frame is not None:
        if any(room in frame.f_code.co_filename for room in rooms):
            name = frame.f_code.co_name
        frame = frame.f_back
    return name


def main() -> None:
    folder, *arguments = sys.argv[1:]
    bend_clock(Path(folder) / "clock")
    note_votes(Path(folder) / "votes")
    speak_only(Path(folder) / "wire")
    compute_wrongly(Path(folder) / "wrong")
    failpoints = Failpoints(Path(folder))
    if arguments[0] == "meter":
        from meter.outbox import Outbox

        Outbox._transaction = failpoints.wrap(  # type: ignore[method-assign]
            Outbox._transaction, ("/meter/outbox.py",)
        )
    else:
        from ledger.store.database import Database

        Database.transaction = failpoints.wrap(  # type: ignore[method-assign]
            Database.transaction, ("/ledger/store/",)
        )
    sys.argv = ["wattledger", *arguments]
    from node.main import main as run

    run()


if __name__ == "__main__":
    main()
