"""The words of the stall explainer, each whole: what an operator reads at night."""

from dataclasses import replace

import pytest

from node.explanation import Situation, is_well, say_all, say_duration

NOW = 1_792_000_000  # 2026-10-14 17:46:40 UTC
CALM = Situation(
    head=99,
    height=100,
    round=0,
    proposer="node2 (0x22)",
    quorum=3,
    validators=4,
    waiting=0,
    now_s=NOW,
)
TWO_AWAY = (("node3 (0x33)", NOW - 3_600 * 5), ("node4 (0x44)", NOW - 90))

STORIES = {
    "calm": (CALM, True, "All is well: block 99 is the head and nothing waits."),
    "work": (
        replace(CALM, waiting=7, has_work=True),
        True,
        "All is well: waiting for block 100: 7 transactions.",
    ),
    "nonce gap": (
        replace(CALM, waiting=1),
        True,
        "All is well: block 99 is the head. Waiting for the nonce before theirs: 1 transaction.",
    ),
    "follower": (
        replace(CALM, trouble="it is no validator and only follows"),
        True,
        "This node does not sign: it is no validator and only follows.",
    ),
    "catching up": (
        replace(CALM, behind=4_000),
        True,
        "It is catching up: block 99 of 4000.",
    ),
    "one away": (
        replace(CALM, away=TWO_AWAY[1:]),
        False,
        "Not reachable from here: node4 (0x44) since 2026-10-14 17:45 UTC (for 90 s); enough "
        "others are. What to do: Look after them: not one more may fail before the network stops.",
    ),
    "stalled with work": (
        replace(
            CALM,
            away=TWO_AWAY,
            waiting=2,
            has_work=True,
            round=3,
            next_try_ms=7_940,
            silent=("node3 (0x33)", "node4 (0x44)"),
        ),
        False,
        "No block can be made: 3 of 4 validators are needed and 2 can be reached from here; "
        "missing are node3 (0x33) since 2026-10-14 12:46 UTC (for 5 h), node4 (0x44) since "
        "2026-10-14 17:45 UTC (for 90 s). Block 100 is in round 3 (proposer node2 (0x22)), next "
        "try in 7.9 s; not heard in this round: node3 (0x33), node4 (0x44). What to do: Start 1 "
        "of the missing nodes, or mend the way to them (on their machine: systemctl status "
        "wattledger-node; from here: wattledger node doctor). Blocks go on by themselves, nothing "
        "is lost. Only if they are gone for ever: wattledger network override --help.",
    ),
    "rounds without anybody away": (
        replace(CALM, waiting=1, has_work=True, round=2),
        False,
        "Block 100 is in round 2 (proposer node2 (0x22)); not heard in this round: nobody.",
    ),
    "full disk": (
        replace(CALM, trouble="the disk failed: database or disk is full"),
        False,
        "This node does not sign: the disk failed: database or disk is full. What to do: Free "
        "space on it or replace the card; signing resumes by itself.",
    ),
    "record missing": (
        replace(CALM, trouble="its signer record is missing or an old copy: it waits"),
        False,
        "This node does not sign: its signer record is missing or an old copy: it waits. What to "
        "do: Wait; never copy an old data folder beside the key.",
    ),
    "record missing of a pair": (
        replace(CALM, trouble="its signer record is missing", validators=2, quorum=2),
        False,
        "This node does not sign: its signer record is missing. What to do: With one or two "
        "validators nobody else can tell what this key signed: if nothing that it signed was lost, "
        "set key.sign_without_record.",
    ),
    "coming rules": (
        replace(CALM, rules=(120, 2)),
        False,
        "From block 120 on, in 21 blocks, the network keeps rules version 2, which this program "
        "does not know: it will halt before it. What to do: Install a newer Wattledger on this "
        "node before that block.",
    ),
    "candidate and evidence": (
        replace(CALM, candidates=("0x55",), accusations=("node3 lies.",)),
        False,
        "Voted in, and not yet ready to validate: 0x55; nobody waits for them. node3 lies.",
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_words(name: str) -> None:
    facts, well, words = STORIES[name]
    assert say_all(facts) == words
    assert is_well(facts) is well


def test_durations_are_in_the_largest_unit_of_which_there_are_two() -> None:
    said = [say_duration(seconds) for seconds in (0, 119, 120, 7_199, 7_200, 172_799, 172_800)]
    assert said == ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]
