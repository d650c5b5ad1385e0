"""A network's state in words: what is wrong, who is missing and since when, what to do.

Pure: a `Situation` goes in, sentences come out, most pressing first. `wattledger node status`,
JSON-RPC and the log all say these. Not here: where the facts come from (`status`).
"""

import time
from dataclasses import dataclass

FOLLOWS = "it is no validator and only follows"
"""What the engine says of a node that has no vote; nothing is wrong with that."""
MISSING_RECORD = "its signer record is missing"
DISK = "the disk failed"


@dataclass(frozen=True, slots=True)
class Situation:
    """What the sentences are made of. `away` has name and since when, Unix seconds."""

    head: int
    height: int
    round: int
    proposer: str
    quorum: int
    validators: int
    waiting: int
    now_s: int
    has_work: bool = False
    next_try_ms: int | None = None
    trouble: str | None = None
    behind: int | None = None
    away: tuple[tuple[str, int], ...] = ()
    silent: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    rules: tuple[int, int] | None = None
    accusations: tuple[str, ...] = ()

    @property
    def reachable(self) -> int:
        return self.validators - len(self.away)

    @property
    def stalled(self) -> bool:
        """Whether no quorum can be reached from here."""
        return self.reachable < self.quorum


def is_well(facts: Situation) -> bool:
    """Whether an operator has nothing to look at."""
    broken = facts.trouble is not None and facts.trouble != FOLLOWS
    stuck = facts.waiting > 0 and facts.round > 0
    return not (broken or facts.away or stuck or facts.rules or facts.accusations)


def say_all(facts: Situation) -> str:
    """The whole explanation."""
    said = [*say_problems(facts), *say_notes(facts)]
    advice = say_advice(facts)
    if not said:
        said.append(_say_well(facts))
    if advice:
        said.append("What to do: " + " ".join(advice))
    return " ".join(said)


def say_problems(facts: Situation) -> list[str]:
    """What keeps this node or the network from working as it should."""
    said: list[str] = []
    if facts.trouble is not None:
        said.append(f"This node does not sign: {facts.trouble}.")
    if facts.behind is not None:
        said.append(f"It is catching up: block {facts.head} of {facts.behind}.")
    missing = ", ".join(f"{name} {_say_since(since, facts.now_s)}" for name, since in facts.away)
    if facts.stalled:
        said.append(
            f"No block can be made: {facts.quorum} of {facts.validators} validators are needed and "
            f"{facts.reachable} can be reached from here; missing are {missing}."
        )
    elif facts.away:
        said.append(f"Not reachable from here: {missing}; enough others are.")
    if facts.waiting and (facts.round > 0 or facts.stalled):
        wait = ""
        if facts.next_try_ms is not None:
            wait = f", next try in {facts.next_try_ms / 1000:.1f} s"
        said.append(
            f"Block {facts.height} is in round {facts.round} (proposer {facts.proposer}){wait}; "
            f"not heard in this round: {', '.join(facts.silent) or 'nobody'}."
        )
    return said


def say_notes(facts: Situation) -> list[str]:
    """What an operator should know although blocks come."""
    said = []
    if facts.rules is not None:
        height, version = facts.rules
        said.append(
            f"From block {height} on, in {max(0, height - facts.head)} blocks, the network keeps "
            f"rules version {version}, which this program does not know: it will halt before it."
        )
    if facts.candidates:
        said.append(
            f"Voted in, and not yet ready to validate: {', '.join(facts.candidates)}; "
            "nobody waits for them."
        )
    return said + list(facts.accusations)


def say_advice(facts: Situation) -> list[str]:
    """What an operator can do about it, and what not to do."""
    advice = []
    trouble = facts.trouble or ""
    if trouble.startswith(DISK):
        advice.append("Free space on it or replace the card; signing resumes by itself.")
    if MISSING_RECORD in trouble and facts.validators <= 2:
        advice.append(
            "With one or two validators nobody else can tell what this key signed: if nothing that "
            "it signed was lost, set key.sign_without_record."
        )
    elif MISSING_RECORD in trouble:
        advice.append("Wait; never copy an old data folder beside the key.")
    if facts.stalled:
        needed = facts.quorum - facts.reachable
        advice.append(
            f"Start {needed} of the missing nodes, or mend the way to them (on their machine: "
            "systemctl status wattledger-node; from here: wattledger node doctor). Blocks go on by "
            "themselves, nothing is lost. Only if they are gone for ever: "
            "wattledger network override --help."
        )
    elif facts.away:
        spare = facts.reachable - facts.quorum
        advice.append(
            f"Look after them: {'not one' if spare == 0 else f'only {spare}'} more may fail before "
            "the network stops."
        )
    if facts.rules is not None:
        advice.append("Install a newer Wattledger on this node before that block.")
    return advice


def _say_well(facts: Situation) -> str:
    waiting, head = facts.waiting, facts.head
    noun = "transaction" if waiting == 1 else "transactions"
    if not waiting:
        return f"All is well: block {head} is the head and nothing waits."
    if facts.has_work:
        return f"All is well: waiting for block {head + 1}: {waiting} {noun}."
    return (
        f"All is well: block {head} is the head. Waiting for the nonce before theirs: "
        f"{waiting} {noun}."
    )


def _say_since(since_s: int, now_s: int) -> str:
    """`since 2026-11-21 06:00 UTC (for 5 min)`."""
    stamp = time.strftime("%Y-%m-%d %H:%M", time.gmtime(since_s))
    return f"since {stamp} UTC (for {say_duration(max(0, now_s - since_s))})"


def say_duration(seconds: int) -> str:
    """In the largest unit of which there are two."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
