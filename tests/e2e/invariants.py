"""What must hold of a town of real nodes, seen from outside: S1 to S5 and R of FIELD_NOTES.md.

L is `Town.await_progress`. S5 is watched by the customers, S2 is in what `witness` noted.
"""

from pathlib import Path

from ledger.chain import Chain
from ledger.encoding.hexadecimal import encode_quantity
from ledger.store.memory import MemoryStore
from ledger.store.sqlite import SqliteStore
from node.client import Client
from tests.e2e.networks import read_log, until
from tests.e2e.town import HEAL_S, Load, Town

MEMORY_BYTES_MAX = 150_000_000
DESCRIPTORS_MAX = 150
"""Some 20 of a node, its peers twice while they redial, and this test's clients."""


def check_town(town: Town, load: Load, *, evidence: bool = False) -> int:
    """S1 to S5 and R, on a network that has healed; the first node is stopped for S4. How many
    votes were held against each other: never none."""
    load.stop()
    assert load.receipts, "the load saw no receipt"
    assert not load.unexpected, load.unexpected[:5]
    assert not load.went_back, load.went_back[:5]  # S5
    top = max(until(town.heights, HEAL_S, "an answer of each node"))
    until(lambda: min(town.heights()) >= top, HEAL_S, f"block {top} everywhere")
    check_one_hash(town, top)
    check_receipts(town, load)
    votes = check_votes(town)
    for index in range(town.size):
        client = town.client(index)
        until(lambda client=client: is_well(client), HEAL_S, f"node {index + 1} to take part")
        status = client.call("wattledger_status")
        assert evidence or not status["evidence"], status["evidence"]
    check_bounds(town)
    for file in town.processes.logs.glob("*.log"):
        text = file.read_text(errors="replace")
        assert "internal error" not in text and "Traceback" not in text, text[-3_000:]
    town.processes.stop("node1")
    check_execution(town, 0, top)
    return votes


def is_well(client: Client) -> bool:
    return client.call("wattledger_status")["trouble"] is None


def check_one_hash(town: Town, top: int) -> None:
    """S1."""
    calls = [("eth_getBlockByNumber", (encode_quantity(h), False)) for h in range(top + 1)]
    chains = []
    for index in range(town.size):
        chains.append([block["hash"] for block in town.client(index).batch(calls)])
    for height, hashes in enumerate(zip(*chains, strict=True)):
        assert len(set(hashes)) == 1, f"two blocks of height {height}: {hashes}"


def check_receipts(town: Town, load: Load) -> None:
    """S3: each receipt seen is still there, on every node."""
    calls = [("eth_getTransactionReceipt", (one,)) for one in load.receipts]
    for index in range(town.size):
        for one, receipt in zip(load.receipts, town.client(index).batch(calls), strict=True):
            assert receipt is not None, f"{one} vanished from node {index + 1}"
            found = (int(receipt["blockNumber"], 16), receipt["blockHash"])
            assert found == load.receipts[one], one


def check_votes(town: Town) -> int:
    """S2, over all lives of each key: one digest per (type, height, round), and nothing in a round
    below one whose ROUND-CHANGE it signed. How many votes were looked at."""
    looked = 0
    for member in town.network.members:
        file = town.supervised.folder(member.name) / "votes"
        signed: dict[tuple[str, int, int], str] = {}
        changed: dict[int, int] = {}
        for line in file.read_text().splitlines() if file.exists() else ():
            kind, height_, round_, *content = line.split()
            height, number, what = int(height_), int(round_), " ".join(content)
            before = signed.setdefault((kind, height, number), what)
            assert before == what, f"{member.name} signed two: {line} / {before}"
            assert number >= changed.get(height, 0), f"{member.name} went back: {line}"
            if kind == "ROUND_CHANGE":
                changed[height] = number
            looked += 1
    assert looked, "no vote was noted"
    return looked


def check_execution(town: Town, index: int, top: int) -> None:
    """S4: every block executes again, from genesis, to the roots in its header."""
    store = SqliteStore(town.store_file(index))
    again = Chain(MemoryStore(), town.network.genesis)
    kept = Chain(store, town.network.genesis)
    try:
        for height in range(1, top + 1):
            again.commit(kept.block(height), kept.certificate(height), None)
        assert again.head.hash == kept.header(top).hash
    finally:
        again.close()
        kept.close()


def check_bounds(town: Town) -> None:
    """R, of every node that runs."""
    for member in town.network.members:
        if not town.supervised.running(member.name):
            continue
        pid = town.supervised.pid(member.name)
        memory, descriptors = usage_of(pid)
        assert memory <= MEMORY_BYTES_MAX, f"{member.name} takes {memory} bytes"
        assert descriptors <= DESCRIPTORS_MAX, f"{member.name} has {descriptors} descriptors"


def usage_of(pid: int) -> tuple[int, int]:
    """(resident bytes, open descriptors) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [one for one in status.splitlines() if one.startswith("VmRSS:")]
    return int(line.split()[1]) * 1_024, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def logs_of(town: Town) -> str:
    """The end of each log, for a story that failed."""
    return "\n".join(
        f"--- {one.name}\n{read_log(town, one.name)[-1_500:]}" for one in town.network.members
    )
