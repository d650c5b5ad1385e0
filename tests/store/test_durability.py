"""What is on disk when: under strace, SIGKILL, a torn log, a full disk, a damaged file."""

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger.crypto.keccak import keccak256 as keccak
from ledger.errors import DiskFull, StoreError
from ledger.store import database
from ledger.store.base import StateBatch
from ledger.store.sqlite import SqliteStore
from tests.store.writer import FLUSH_BLOCKS, append, body_of, check, flush, leaf_of

SEED = int(os.environ.get("STORE_SEED", "0")) or random.randrange(2**32)
ROOT = Path(__file__).parents[2]


def start_writer(path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.writer", "write", str(path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )


def test_killed_at_any_moment_every_block_is_whole_or_absent(tmp_path):
    """SIGKILL under load, twelve times, on one file."""
    print("STORE_SEED =", SEED)
    chance = random.Random(SEED)
    path = tmp_path / "chain.sqlite"
    for _ in range(12):
        process = start_writer(path)
        assert process.stdout is not None
        process.stdout.readline()  # it is at work
        time.sleep(chance.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        announced = [int(line) for line in process.stdout.read().split()]
        process.stdout.close()
        process.wait()
        store = SqliteStore(path)
        try:
            head = check(store)
            assert not announced or head >= announced[-1]
        finally:
            store.close()


def test_a_log_cut_anywhere_leaves_whole_blocks(tmp_path):
    """A power cut keeps what was synced and any part of what was not: here, any prefix of it."""
    print("STORE_SEED =", SEED)
    chance = random.Random(SEED)
    path = tmp_path / "chain.sqlite"
    store = SqliteStore(path)
    sizes = []
    log = Path(f"{path}-wal")
    for height in range(20):
        append(store, height)
        if height % FLUSH_BLOCKS == FLUSH_BLOCKS - 1:
            flush(store, height - FLUSH_BLOCKS + 1, height)
        sizes.append(log.stat().st_size)
    saved = tmp_path / "saved"
    saved.mkdir()
    for file in (path, log):
        shutil.copy(file, saved / file.name)
    store.close()

    for cut in [*sizes, *(chance.randrange(sizes[-1]) for _ in range(30))]:
        folder = tmp_path / "again"
        shutil.copytree(saved, folder)
        os.truncate(folder / log.name, cut)
        store = SqliteStore(folder / path.name)
        head = check(store)
        store.close()
        assert head == sum(size <= cut for size in sizes) - 1 or cut not in sizes
        assert head >= sum(size <= cut for size in sizes) - 1
        shutil.rmtree(folder)


def test_a_flipped_bit_in_the_log_never_shows_as_data(tmp_path):
    print("STORE_SEED =", SEED)
    chance = random.Random(SEED)
    path = tmp_path / "chain.sqlite"
    store = SqliteStore(path)
    for height in range(10):
        append(store, height)
    log = Path(f"{path}-wal")
    saved, saved_log = path.read_bytes(), log.read_bytes()
    store.close()

    for _ in range(30):
        broken = bytearray(saved_log)
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        path.write_bytes(saved)
        log.write_bytes(broken)
        store = SqliteStore(path)
        assert -1 <= check(store) <= 9
        store.close()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_block_and_its_lease_are_synced_before_append_block_returns(tmp_path):
    """By the kernel's account: one sync, after the last write and before the return."""
    trace = tmp_path / "trace"
    script = (
        "import os, pathlib; from tests.store import writer as t\n"
        f"store = t.SqliteStore(pathlib.Path({str(tmp_path / 'chain.sqlite')!r}))\n"
        "for height in range(3):\n"
        "    os.write(1, b'append'); t.append(store, height); os.write(1, b'done')\n"
        "os.write(1, b'append'); store.save_signer(b'record'); os.write(1, b'done')\n"
        "os.write(1, b'append'); store.put_durable_many({'a': b'1', 'b': b'2'});"
        " os.write(1, b'done')\n"
        "store.close()\n"
    )
    calls = "trace=write,pwrite64,fsync,fdatasync"
    ran = subprocess.run(
        ["strace", "-f", "-y", "-e", calls, "-o", trace, sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
    )
    text = trace.read_text() if trace.exists() else ""
    if "append" not in text:
        pytest.skip(f"strace may not trace here: {ran.stderr.decode()[-200:]}")
    assert ran.returncode == 0, ran.stderr

    parts = re.findall(r'write\(1<[^>]*>, "append".*?write\(1<[^>]*>, "done"', text, re.DOTALL)
    assert len(parts) == 5
    for part in parts:
        steps = re.findall(r"(pwrite64|fsync|fdatasync)\(\d+<([^>]*)>", part)
        assert {file for _, file in steps} == {f"{tmp_path}/chain.sqlite-wal"}
        names = [name for name, _ in steps]
        assert len(names) >= 3 and set(names[:-1]) == {"pwrite64"} and names[-1] == "fdatasync"


def test_a_full_disk_is_said_and_nothing_of_the_block_is_there(tmp_path):
    path = tmp_path / "chain.sqlite"
    store = SqliteStore(path)
    for height in range(5):
        append(store, height)
    pages = store._db.main.execute("PRAGMA page_count").fetchone()[0]
    for connection in (store._db.main, store._db.large):
        connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(DiskFull, match=r"the disk that holds .*chain\.sqlite is full"):
        for height in range(5, 100):
            append(store, height)
    full_at = store.head_height()
    with pytest.raises(DiskFull):
        store.save_signer(b"x" * 100_000)
    with pytest.raises(DiskFull):
        store.flush(StateBatch(full_at, b"\1" * 32, [], {b"\2" * 32: b"x" * 100_000}))
    assert check(store) == full_at

    for connection in (store._db.main, store._db.large):
        connection.execute("PRAGMA max_page_count = 1000000")
    append(store, full_at + 1)
    flush(store, 0, full_at + 1)
    assert check(store) == full_at + 1
    store.close()


def test_a_disk_that_is_really_full_and_has_space_again(tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed: no small file system to fill")
    command = (
        f"mount -t tmpfs -o size=2m tmpfs {tmp_path} || {{ echo no mount; exit; }};"
        f" exec {sys.executable} -m tests.store.writer fill {tmp_path}"
    )
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command],
        cwd=ROOT,
        capture_output=True,
    )
    if b"no mount" in ran.stdout or b"unshare" in ran.stderr:
        pytest.skip(f"no small file system can be mounted here: {ran.stderr.decode()[-200:]}")
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout == b"recovered"


@pytest.mark.parametrize("damage", ["no database", "pages", "short"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, damage):
    path = tmp_path / "chain.sqlite"
    store = SqliteStore(path)
    for height in range(50):
        append(store, height)
    store.close()
    content = bytearray(path.read_bytes())
    if damage == "no database":
        content[:100] = b"\xff" * 100
    elif damage == "pages":
        content[4_096:] = random.Random(1).randbytes(len(content) - 4_096)
    else:
        del content[3_000:]
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"chain\.sqlite is damaged: .*; move it away"):
        store = SqliteStore(path)
        for height in range(50):
            store.get_body(height)


def test_two_processes_never_share_a_file(tmp_path):
    store = SqliteStore(tmp_path / "chain.sqlite")

    with pytest.raises(StoreError, match="in use by another process"):
        SqliteStore(tmp_path / "chain.sqlite")
    store.close()
    store.close()
    SqliteStore(tmp_path / "chain.sqlite").close()


def test_a_file_of_another_version_is_refused(tmp_path):
    path = tmp_path / "chain.sqlite"
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    for _ in range(2):
        with pytest.raises(StoreError, match=r"another version \(format 99, this program reads 1"):
            SqliteStore(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match=r"chain\.sqlite cannot be opened"):
        SqliteStore(tmp_path / "file" / "chain.sqlite")


def test_appending_and_reading_go_on_while_a_flush_is_open(tmp_path):
    """A flush in another thread holds the write lock; readers see what was before it."""
    store = SqliteStore(tmp_path / "chain.sqlite")
    append(store, 0)
    flush(store, 0, 0)
    with store._db.transaction(store._db.large) as connection:
        connection.execute("DELETE FROM node")
        assert store.get_node(b"", b"\1") == leaf_of(0)
        assert store.get_body(0) == body_of(0)
    assert store.get_node(b"", b"\1") is None
    store.close()


def test_a_transaction_that_fails_leaves_no_trace(tmp_path):
    store = SqliteStore(tmp_path / "chain.sqlite")
    append(store, 0)
    with pytest.raises(StoreError):
        store.append_block(1, keccak(b"1"), b"header", b"body", None, b"lease")  # type: ignore
    with pytest.raises(KeyError), store._db.transaction(store._db.main) as connection:
        connection.execute("DELETE FROM block")
        raise KeyError
    assert check(store) == 0
    append(store, 1)
    assert check(store) == 1
    store.close()


def test_the_log_is_bounded_and_goes_when_the_store_closes(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "WAL_PAGES_MAX", 100)
    path = tmp_path / "chain.sqlite"
    store = SqliteStore(path)
    log = Path(f"{path}-wal")
    for height in range(200):
        append(store, height)
        if height % FLUSH_BLOCKS == FLUSH_BLOCKS - 1:
            flush(store, height - FLUSH_BLOCKS + 1, height)
    assert log.stat().st_size < 200 * 4_120
    assert store.size_bytes() == log.stat().st_size + path.stat().st_size
    store.close()
    assert not log.exists()
