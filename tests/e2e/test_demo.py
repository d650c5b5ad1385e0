"""The demo as a newcomer runs it, and a script of one's own that compares its files with its chain.

It takes some 80 s, most of it the pace at which four boards replay a month.
"""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from node.client import Client, ClientError
from node.demo.processes import Processes
from tests.e2e.networks import until

ROOT = Path(__file__).parents[2]
DEMO_S = 900  # 120 on two idle cores; tests run two at a time, beside whatever else runs


@pytest.mark.timeout(DEMO_S + 120)
@pytest.mark.parametrize("consensus", ["qbft", pytest.param("pow", marks=pytest.mark.deep)])
def test_the_demo_ends_well_and_its_sums_are_those_of_the_files(
    tmp_path: Path, consensus: str
) -> None:
    try:
        distribution("eemeter")
    except PackageNotFoundError:
        pytest.skip("the demo's readings, the package eemeter, are not installed")
    kept = tmp_path / "kept"
    demo = subprocess.run(
        [sys.executable, "-m", "node", "demo", "--keep", str(kept), "--consensus", consensus],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEMO_S,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout[-3_000:] + demo.stderr[-3_000:]
    assert "Traceback" not in demo.stdout + demo.stderr
    for words in ("is killed", "is cut off", "has caught up", "all 4 nodes have block", "Done in"):
        assert words in demo.stdout
    assert ("12 blocks stand on it" in demo.stdout) is (consensus == "pow")
    assert ("hashes of work on average" in demo.stdout) is (consensus == "pow")
    for log in (kept / "logs").glob("*.log"):
        assert "internal error" not in log.read_text(errors="replace"), log.name
        assert "Traceback" not in log.read_text(errors="replace"), log.name
    compare_with_one_node(kept)


def compare_with_one_node(kept: Path) -> None:
    """One node of the kept network serves reads, though alone it can make no block."""
    summary = json.loads((kept / "demo.json").read_text())
    assert len(summary["households"]) == 4
    processes = Processes(kept / "logs")
    client = Client(summary["rpc"][0])
    processes.start("again", "node", "node", "run", "--config", summary["nodes"][0])
    try:
        until(lambda: answers(client), 60, "node 1 of the kept network")
        script = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "compare_sums.py"), str(kept)],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    finally:
        client.close()
        processes.stop()
    assert script.returncode == 0, script.stdout + script.stderr
    assert "every sum is the same" in script.stdout
    assert script.stderr == ""


def answers(client: Client) -> bool:
    try:
        return client.height() > 0
    except ClientError:
        return False
