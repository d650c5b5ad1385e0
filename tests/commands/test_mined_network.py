"""`network new --consensus pow`: the network file chooses the engine."""

import json
from pathlib import Path

from tests.commands.terminal import succeed


def test_a_network_file_chooses_proof_of_work(tmp_path: Path) -> None:
    out = tmp_path / "grid"
    succeed(
        "network", "new", "--out", out, "--nodes", 2, "--consensus", "pow", "--difficulty", 5_000
    )
    written = json.loads((out / "network.json").read_text())
    assert (written["consensus"], written["difficulty"]) == ("pow", 5_000)


def test_without_it_a_network_votes_and_has_no_difficulty(tmp_path: Path) -> None:
    out = tmp_path / "grid"
    succeed("network", "new", "--out", out, "--nodes", 1)
    written = json.loads((out / "network.json").read_text())
    assert written["consensus"] == "qbft"
    assert "difficulty" not in written
