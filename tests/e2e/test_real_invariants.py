"""The invariants can fail: what no honest node does is found in votes and answers made up here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.invariants import check_one_hash, check_receipts, check_votes

A, B = "aa" * 32, "bb" * 32
HONEST = [
    f"PREPARE 1 0 {A} None",
    f"COMMIT 1 0 {A} None",
    f"PREPARE 2 0 {B} None",
    "ROUND_CHANGE 2 1 - None",
    f"PREPARE 2 1 {A} None",
]


class Answers:
    """A node that answers batches from a table."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers

    def batch(self, calls: list[Any]) -> list[Any]:
        assert len(calls) == len(self.answers)
        return self.answers


def town_of(*nodes: Any, folder: Path = Path("unused")) -> Any:
    return SimpleNamespace(
        network=SimpleNamespace(members=[SimpleNamespace(name="node1")]),
        supervised=SimpleNamespace(folder=lambda name: folder / name),
        size=len(nodes),
        client=lambda index: nodes[index],
    )


def votes_of(folder: Path, *lines: str) -> int:
    (folder / "node1").mkdir()
    (folder / "node1" / "votes").write_text("".join(f"{line}\n" for line in lines))
    return check_votes(town_of(folder=folder))


def test_honest_votes_pass_and_the_same_vote_twice_is_one(tmp_path: Path) -> None:
    assert votes_of(tmp_path, *HONEST, HONEST[-1]) == len(HONEST) + 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"COMMIT 1 0 {B} None", "signed two"),
        ("ROUND_CHANGE 2 1 - 0", "signed two"),
        (f"COMMIT 2 0 {B} None", "went back"),
    ],
)
def test_two_digests_and_a_step_back_are_found(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        votes_of(tmp_path, *HONEST, line)


def test_no_vote_at_all_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no vote"):
        votes_of(tmp_path)


def test_two_blocks_of_a_height_are_found() -> None:
    chain = [{"hash": "0x1"}, {"hash": "0x2"}]
    check_one_hash(town_of(Answers(chain), Answers(chain)), 1)
    fork = [{"hash": "0x1"}, {"hash": "0x3"}]
    with pytest.raises(AssertionError, match="height 1"):
        check_one_hash(town_of(Answers(chain), Answers(fork)), 1)


@pytest.mark.parametrize("later", [None, {"blockNumber": "0x2", "blockHash": "0xb"}])
def test_a_receipt_that_vanished_or_moved_is_found(later: dict[str, str] | None) -> None:
    seen: Any = SimpleNamespace(receipts={"0x7": (1, "0xa")})
    there = {"blockNumber": "0x1", "blockHash": "0xa"}
    check_receipts(town_of(Answers([there])), seen)
    with pytest.raises(AssertionError, match="0x7"):
        check_receipts(town_of(Answers([later])), seen)
