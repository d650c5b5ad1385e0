"""On disk before on the wire, seen from outside: the system calls of a node under strace.

kill -9 keeps the page cache, so it cannot show a missing sync. Here a validator of four runs under
strace, and the order of its writes to the store, its syncs and its sends is read from the trace.
"""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger.transaction import sign_transaction
from node.client import Client
from node.daemon import WITH_PARENT
from node.devnet import BALANCE_WEI, CHAIN_ID, MNEMONIC, Devnet
from node.keys import derive_unlocked
from node.network_files import Member, create_network
from node.ports import free_ports

KEYS = derive_unlocked(MNEMONIC)
ACCOUNTS = list(KEYS)
TRANSACTIONS = 12
CALL = re.compile(r"^\d+\s+(?P<name>\w+)\(\d+<(?P<file>.*?)>[,)]")
WRITES = {"pwrite64", "pwritev", "write", "writev"}
SYNCS = {"fsync", "fdatasync"}
SENDS = {"write", "writev", "sendto", "sendmsg"}


class Traced(Devnet):
    """A devnet whose last node runs under strace."""

    def start_node(self, member: Member) -> "subprocess.Popen[bytes]":
        if member is not self.members[-1]:
            return super().start_node(member)
        calls = ",".join(sorted(WRITES | SYNCS | SENDS))
        return subprocess.Popen(
            ["strace", "-f", "-yy", "-s", "0", "-e", f"trace={calls}",
             "-o", str(member.folder / "trace"),
             sys.executable, "-m", "node.daemon", str(member.config_file), WITH_PARENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def read_trace(trace: Path, ports: set[int]) -> list[str]:
    """The calls that matter, in order: "write" and "sync" of the store, "send" to a peer."""
    seen: list[str] = []
    for line in trace.read_text(errors="replace").splitlines():
        call = CALL.match(line)
        if call is None:
            continue
        name, file = call["name"], call["file"]
        if file.endswith("chain.sqlite-wal"):
            seen.append("sync" if name in SYNCS else "write")
        elif file.startswith("TCP") and name in SENDS:
            numbers = {int(port) for port in re.findall(r":(\d+)", file)}
            if numbers & ports:
                seen.append("send")
    return seen


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not trace")
def test_nothing_is_sent_while_a_record_or_a_block_is_not_synced(tmp_path: Path) -> None:
    ports = free_ports(4)
    made = create_network(
        tmp_path / "net",
        nodes=2,  # a quorum of two is both: no block without the traced one's vote
        alloc=dict.fromkeys(ACCOUNTS, BALANCE_WEI),
        block_period_ms=0,
        rpc_ports=ports[:2],
        peer_ports=ports[2:],
        settings={"store.flush_blocks": 4},
    )
    network = Traced(made.members)
    network.start()
    client = Client(f"http://127.0.0.1:{made.members[0].rpc_port}")
    try:
        network.wait_ready()
        for nonce in range(TRANSACTIONS):
            raw = sign_transaction(
                KEYS[ACCOUNTS[1]], chain_id=CHAIN_ID, nonce=nonce, to=ACCOUNTS[2],
                gas=21_000, gas_price=0,
            )  # fmt: skip
            sent = client.call("eth_sendRawTransaction", "0x" + raw.raw.hex())
            client.wait_for_receipt(sent)
        traced = Client(f"http://127.0.0.1:{made.members[-1].rpc_port}")
        deadline = time.monotonic() + 60
        while traced.height() < client.height():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        height = traced.height()
        traced.close()
    finally:
        client.close()
        # strace passes no signal on: the node under it stops because its standard input ends.
        stdin = network.processes[-1].stdin
        assert stdin is not None
        stdin.close()
        network.processes[-1].wait(60)
        network.stop()
    peers = {member.port for member in made.members}
    calls = read_trace(made.members[-1].folder / "trace", peers)
    unsynced = False
    synced = synced_between_sends = 0
    fresh_sync = False
    for call in calls:
        if call == "write":
            unsynced = True
        elif call == "sync":
            synced += unsynced
            fresh_sync, unsynced = fresh_sync or unsynced, False
        else:
            assert not unsynced, "something was sent while the store was not synced"
            synced_between_sends += fresh_sync
            fresh_sync = False
    # Each block costs two syncs, of the COMMIT's record and of the block; the block's and the next
    # record's may stand together before a send.
    assert synced >= 2 * height - 2, (synced, height)
    assert synced_between_sends >= height - 1, (synced_between_sends, height)
