"""On disk before on the wire: what a power cut would leave at each moment that something is said.

strace records the writes and syncs of a real validator and of a real meter. The trace is replayed:
whenever the process sends something, the files are rebuilt from what was synced by then, opened as
after a power cut, and must hold all that the message depends on (QBFT.md, "On disk before on the
wire"). TLS hides what peers are sent, so the traced node also writes each frame to a file of marks
at the moment it is queued, which is before it can leave.

Each rule is also shown to be able to fail: the same node with syncs turned off, or one that keeps
its signer record to itself, is found out.
"""

import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ledger.block import decode_block, quorum
from ledger.chain import Chain
from ledger.consensus.messages import Authors, Kind, Network, Vote, decode_message
from ledger.consensus.signer import SignerRecord, decode_record
from ledger.crypto.address import address_of, to_checksum
from ledger.crypto.keccak import keccak256
from ledger.store.sqlite import SqliteStore
from ledger.transaction import decode_transaction, sign_transaction
from meter.chain_view import encode_records
from meter.outbox import Outbox
from node.demo.grid import Grid, call, deploy_metering
from node.network_files import STORE_FILE
from node.peers.frames import Kind as Frame
from node.peers.frames import decode_frame
from tests.e2e.networks import (
    await_ready,
    height_of,
    receipts_of,
    recorded_by,
    run_network,
    until,
)
from tests.e2e.traces import Disk, read_trace, strace

MARKS = """
import os, sys
from node.peers.connection import Peer
marks = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
send_frame = Peer.send_frame
def mark(self, kind, frame):
    os.write(marks, frame)
    send_frame(self, kind, frame)
Peer.send_frame = mark
"""
NO_SYNC = """
import sqlite3
connect = sqlite3.connect
class Unsynced(sqlite3.Connection):
    def execute(self, statement, *values):
        if statement.startswith("BEGIN"):
            super().execute("PRAGMA synchronous = OFF")
        return super().execute(statement, *values)
sqlite3.connect = lambda *values, **names: connect(*values, factory=Unsynced, **names)
"""
NO_RECORD = """
from ledger.store.sqlite import SqliteStore
SqliteStore.save_signer = lambda self, record: None
"""
MAIN = "from node.main import main; main()"
BLOCKS_TOGETHER, BLOCKS_WITHOUT_ONE = 6, 8  # of the latter every fourth changes rounds
START_S = 60.0
METER_END_S = 150.0
RECORDED_WH = (500, 0, 1_250, 7, 3_000, 41, 0, 999)


# A traced process.


@contextmanager
def run_traced(folder: Path, code: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`python -c code` under strace until the block ends; SIGTERM is for it, not for strace."""
    with (folder / "traced.log").open("wb") as log:
        process = subprocess.Popen(
            [*strace(folder / "trace"), sys.executable, "-c", code, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            traced = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for pid in traced:
                subprocess.run(["kill", "-TERM", pid], check=False)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()


def await_answer(traced: "subprocess.Popen[bytes]", url: str) -> None:
    """Until the traced node answers; it is slow to start."""

    def answers() -> bool:
        assert traced.poll() is None, "the traced process ended: see traced.log"
        return height_of(url) >= 0

    until(answers, START_S, "the traced process")


# A validator.


@dataclass
class Validator:
    """The traced member of a network, and what was seen of it."""

    grid: Grid
    receipts: list[dict[str, Any]] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.member = self.grid.network.members[0]
        self.folder = self.grid.folder
        self.disk = Disk(self.member.folder / "data" / STORE_FILE)  # before it runs
        self.key = secrets.token_bytes(32)

    def send(self, count: int) -> None:
        """One transaction after another, each with the receipt that the traced node gave."""
        client = self.grid.client(0)
        for _ in range(count):
            transaction = sign_transaction(
                self.key,
                chain_id=self.grid.network.genesis.chain_id,
                nonce=len(self.receipts),
                to=address_of(self.key),
                gas=21_000,
                gas_price=0,
            )
            sent = client.call("eth_sendRawTransaction", "0x" + transaction.raw.hex())
            self.receipts.append(client.wait_for_receipt(sent))

    def run(self, code: str, count: int, killed: int, count_after: int) -> None:
        """Make blocks with all members, then without one of them."""
        for index in range(1, len(self.grid.network.members)):
            self.grid.start_node(index)
        config = str(self.member.config_file)
        marks = str(self.folder / "marks")
        arguments = (marks, "node", "run", "--config", config)
        with run_traced(self.folder, code + MARKS + MAIN, *arguments) as traced:
            await_answer(traced, self.grid.url(0))
            await_ready(self.grid)
            self.send(count)
            if killed:
                self.grid.processes.kill(self.grid.network.members[killed].name)
                self.send(count_after)

    def check(self) -> None:
        """Replay the trace; at each frame and each answer the disk holds what it depends on."""
        rule = Rules(self)
        for event in read_trace(self.folder / "trace"):
            if event.file == str(self.folder / "marks"):
                rule.check_frame(event.data)
            elif event.file.startswith(f"TCP:[127.0.0.1:{self.member.rpc_port}->"):
                rule.check_answer(event.data)
            generation = self.disk.generation
            self.disk.take(event)
            if self.disk.generation != generation:
                rule.check_start()
        rule.close()


class Rules:
    """What must be on disk when something is said."""

    def __init__(self, validator: Validator) -> None:
        genesis = validator.grid.client(1).call("eth_getBlockByNumber", "0x0", False)["hash"]
        chain_id = validator.grid.network.genesis.chain_id
        self.genesis_hash = bytes.fromhex(genesis[2:])
        self.authors = Authors(Network(chain_id, self.genesis_hash))
        self.validator = validator
        self.members = len(validator.grid.network.members)
        self.found: tuple[int, SqliteStore] | None = None
        self.told = 0  # the highest block that was told of

    def open_disk(self) -> SqliteStore:
        """The store as a power cut at this moment would leave it."""
        disk = self.validator.disk
        if self.found is None or self.found[0] != disk.generation:
            self.close()
            image = disk.save(self.validator.folder / "power cut" / str(disk.generation))
            self.found = disk.generation, SqliteStore(image)
        return self.found[1]

    def close(self) -> None:
        if self.found is not None:
            self.found[1].close()
            self.found = None

    def count(self, what: str) -> None:
        self.validator.checked[what] = self.validator.checked.get(what, 0) + 1

    def check_frame(self, frame: bytes) -> None:
        kind, fields = decode_frame(frame)
        if kind is Frame.CONSENSUS:
            message = decode_message(fields[0])
            if self.authors.author_of(message.vote) == self.validator.member.address:
                self.check_vote(message.vote)
        elif kind is Frame.STATUS:
            if fields[0] is not None:  # the head that this peer was told of before
                self.check_block(fields[0], "STATUS")
        elif kind is Frame.BLOCKS:
            for encoded, _ in fields[1]:
                self.check_block(decode_block(encoded).hash, "BLOCKS")

    def check_answer(self, data: bytes) -> None:
        for found in re.findall(rb'"blockHash":"0x([0-9a-f]{64})"', data):
            self.check_block(bytes.fromhex(found.decode()), "receipt")

    def check_vote(self, vote: Vote) -> None:
        """Its lease, without a note; for a COMMIT also the lock and the COMMIT itself."""
        record = self.load_record()
        assert record.note is None, f"{vote} is sent, the note of a clean stop is still there"
        assert record.lease >= (vote.height, vote.round), f"{vote} is sent without its lease"
        if vote.kind is Kind.COMMIT:
            assert record.commit == vote, f"{vote} is sent and not on disk"
            held = record.prepared
            assert held is not None, f"{vote} is sent, its prepared certificate is not on disk"
            assert held.round == vote.round
            assert decode_block(held.block).hash == vote.digest
            prepares = {one.digest for one in held.prepares}
            assert prepares == {vote.digest}
            authors = {self.authors.author_of(one) for one in held.prepares}
            assert len(authors) >= quorum(self.members)
        self.count(vote.kind.name)

    def check_block(self, block_hash: bytes, where: str) -> None:
        """Header, body, certificate and the next lease of a block that is told of."""
        if block_hash == self.genesis_hash:
            return
        store = self.open_disk()
        height = store.get_height(block_hash)
        assert height is not None, f"a {where} tells of block 0x{block_hash.hex()}: not on disk"
        header = store.get_header(height)
        assert header is not None
        assert keccak256(header) == block_hash
        assert store.get_body(height)
        assert store.get_certificate(height)
        assert self.load_record().lease >= (height + 1, 0)
        self.told = max(self.told, height)
        self.count(where)

    def check_start(self) -> None:
        """A node starts from what a power cut leaves after this sync, be it the very first one."""
        disk = self.validator.disk
        store = SqliteStore(disk.save(self.validator.folder / "start" / str(disk.generation)))
        try:
            chain = Chain(store, self.validator.grid.network.genesis)
            assert chain.head.number == store.head_height() >= self.told
        finally:
            store.close()
        self.count("start")

    def load_record(self) -> SignerRecord:
        data = self.open_disk().load_signer()
        assert data is not None
        return decode_record(data)


@pytest.mark.timeout(300)
def test_what_a_validator_says_is_on_its_disk(tmp_path: Path) -> None:
    """Four members; then three, so that the traced one also changes rounds."""
    with run_network(tmp_path / "grid", 4, start=False) as grid:
        validator = Validator(grid)
        validator.run("", BLOCKS_TOGETHER, killed=3, count_after=BLOCKS_WITHOUT_ONE)
        validator.check()
    print(validator.checked)
    blocks = {receipt["blockHash"] for receipt in validator.receipts}
    assert len(blocks) == BLOCKS_TOGETHER + BLOCKS_WITHOUT_ONE
    for kind in ("PROPOSAL", "PREPARE", "COMMIT", "ROUND_CHANGE", "STATUS", "receipt", "start"):
        assert validator.checked.get(kind), f"no {kind} was seen: {validator.checked}"
    # With all members it may hear that a block is decided before it has committed to it itself.
    assert validator.checked["COMMIT"] >= BLOCKS_WITHOUT_ONE
    assert validator.checked["receipt"] >= len(blocks)


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("fault", "words"),
    [(NO_SYNC, "note of a clean stop is still there"), (NO_RECORD, "still there")],
    ids=["without syncs", "without a record"],
)
def test_a_validator_that_writes_too_late_is_found_out(
    tmp_path: Path, fault: str, words: str
) -> None:
    with run_network(tmp_path / "grid", 2, start=False) as grid:
        validator = Validator(grid)
        validator.run(fault, 2, killed=0, count_after=0)
        with pytest.raises(AssertionError, match=words):
            validator.check()


# A meter.


class Metering:
    """A meter that is traced, on a real node."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.folder = grid.folder / "meter"
        self.folder.mkdir()
        self.key = secrets.token_bytes(32)
        call(grid, grid.client(0), "enrol(address,address)", address_of(self.key), self.key[:20])
        (self.folder / "meter.key").write_text(self.key.hex())
        rows = [f"{3_600 * hour},{wh}" for hour, wh in enumerate(RECORDED_WH, 480_000)]
        (self.folder / "house.csv").write_text("start,wh\n" + "\n".join(rows) + "\n")
        (self.folder / "meter.toml").write_text(
            f'network = "{grid.network.network_file}"\nstate_dir = "."\n'
            '\n[[meter]]\nname = "m"\nsource = "replay"\nfile = "house.csv"\n'
            'time_column = "start"\nkind = "interval"\nimport_column = "wh"\n'
            'interval_s = 3600\nspeed = 0\nkey_file = "meter.key"\npoll_ms = 20\nbatch_max = 2\n'
            f'contract = "{to_checksum(grid.contract)}"\nnodes = ["{grid.url(0)}"]\n'
        )
        self.disk = Disk(self.folder / "m.sqlite")

    def run(self, code: str) -> None:
        """Until all is on chain, which ends it."""
        arguments = ("meter", "run", "--config", str(self.folder / "meter.toml"))
        with run_traced(self.folder, code + MAIN, *arguments) as traced:
            assert traced.wait(METER_END_S) == 0, (self.folder / "traced.log").read_text()

    def check(self) -> int:
        """What is sent, and with it the nonce of its periods, is on disk; how many were sent."""
        sent: set[bytes] = set()
        port = self.grid.network.members[0].rpc_port
        for event in read_trace(self.folder / "trace"):
            if event.file.endswith(f"->127.0.0.1:{port}]"):
                for raw in re.findall(
                    rb'"eth_sendRawTransaction","params":\["0x([0-9a-f]+)"', event.data
                ):
                    self.check_sent(bytes.fromhex(raw.decode()))
                    sent.add(raw)
            self.disk.take(event)
        return len(sent)

    def check_sent(self, raw: bytes) -> None:
        folder = self.folder / "power cut" / secrets.token_hex(4)
        outbox = Outbox(self.disk.save(folder))
        try:
            outgoing = outbox.get_outgoing()
            assert outgoing is not None, "bytes are sent and are not on disk"
            assert outgoing.raw == raw
            transaction = decode_transaction(raw)
            assert outgoing.nonce == transaction.nonce
            assert outgoing.records, "what is sent carries no period"
            assert encode_records(outgoing.records) == transaction.data
        finally:
            outbox.close()


@pytest.mark.timeout(200)
def test_what_a_meter_sends_is_in_its_outbox(tmp_path: Path) -> None:
    with run_network(tmp_path / "grid", 1) as grid:
        deploy_metering(grid, [])
        meter = Metering(grid)
        meter.run("")
        sent = meter.check()
        receipts = receipts_of(grid.url(0), address_of(meter.key))
        assert sent == len(receipts) >= len(RECORDED_WH) // 2  # at most two hours in each
        recorded = recorded_by(grid.url(0), grid.contract, address_of(meter.key))
        assert [wh for _, wh, *_ in recorded] == list(RECORDED_WH)


@pytest.mark.timeout(200)
def test_a_meter_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    with run_network(tmp_path / "grid", 1) as grid:
        deploy_metering(grid, [])
        meter = Metering(grid)
        meter.run(NO_SYNC)
        with pytest.raises(AssertionError, match="not on disk"):
            meter.check()
