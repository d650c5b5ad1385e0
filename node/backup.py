"""A copy of a node's chain while it runs, and putting it back.

    backup.json    which network, which head, SHA-256 of each file
    chain.sqlite   blocks and state as of one moment, without the signer record
    network.json, node.toml

Neither the node's key nor its signer record is in a backup: an old record beside a key would let
it sign a block twice. Who restores keeps the record that the data folder has; where it has none,
the node follows and signs again once that is safe, as after the loss of its disk. Sources:
sqlite.org/backup.html, QBFT.md "On disk before on the wire".
"""

import hashlib
import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.chain import Chain
from ledger.errors import LedgerError, StoreError
from ledger.genesis import Genesis
from ledger.store.base import SIGNER_KEY
from ledger.store.sqlite import SqliteStore
from node.config import load_config
from node.errors import NodeError
from node.keys import RECORD_OWNER_KEY
from node.network_files import NETWORK_FILE, STORE_FILE, load_network_file, write_file

MANIFEST = "backup.json"
CONFIG_FILE = "node.toml"
VERSION = 1
READ_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: the head it put back, and whether a signer record was kept."""

    height: int
    block_hash: bytes
    record_kept: bool
    old_file: Path | None


def make_backup(config_file: Path, out: Path) -> tuple[int, bytes]:
    """Copy a node's chain into the new folder `out`; its head as copied, height and hash.

    The node may run meanwhile. The copy is opened and its last blocks are executed before it
    counts. Raises NodeError, LedgerError.
    """
    config = load_config(config_file)
    source = config.data / STORE_FILE
    if not source.exists():
        raise NodeError(f"{source} is not there: this node has not been started yet")
    if out.exists():
        raise NodeError(f"{out} exists: a backup is never written over another one")
    partial = out.with_name(out.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)  # of a backup that was interrupted
    partial.mkdir(parents=True)
    genesis = load_network_file(config.network).genesis
    copy = partial / STORE_FILE
    _copy_database(source, copy)
    height, block_hash, genesis_hash = _prove(copy, genesis)
    shutil.copyfile(config.network, partial / NETWORK_FILE)
    shutil.copyfile(config.file, partial / CONFIG_FILE)
    manifest = {
        "version": VERSION,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "network": genesis.name,
        "genesis": "0x" + genesis_hash.hex(),
        "height": height,
        "hash": "0x" + block_hash.hex(),
        "files": {one: _digest(partial / one) for one in (STORE_FILE, NETWORK_FILE, CONFIG_FILE)},
    }
    write_file(partial / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    partial.rename(out)
    return height, block_hash


def restore_backup(backup: Path, config_file: Path, *, replace: bool = False) -> Restored:
    """Put a backup into the data folder of a node that is stopped. Raises NodeError, LedgerError.

    A chain that is there is only replaced where `replace` says so; it is kept beside it, and the
    signer record in it moves over.
    """
    config = load_config(config_file)
    manifest = read_manifest(backup)
    genesis = load_network_file(config.network).genesis
    target = config.data / STORE_FILE
    record: dict[str, bytes | None] = {}
    old_file = None
    if target.exists():
        if not replace:
            raise NodeError(f"{target} is there already; to replace it by the backup: --replace")
        record = _read_record(target)
    config.data.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".restored")
    shutil.copyfile(backup / STORE_FILE, partial)
    _clear_beside(partial)
    height, block_hash, genesis_hash = _prove(partial, genesis, record)
    if "0x" + genesis_hash.hex() != manifest["genesis"]:
        raise NodeError(f"{backup} is of another network, {manifest['network']}")
    if target.exists():
        old_file = target.with_name(f"{target.name}.before-restore-{int(time.time())}")
        _keep_aside(target, old_file)
        _clear_beside(target)
    partial.replace(target)
    return Restored(height, block_hash, record.get(SIGNER_KEY) is not None, old_file)


def read_manifest(backup: Path) -> dict[str, Any]:
    """The manifest of a backup whose files are as they were written. Raises NodeError."""
    try:
        manifest = json.loads((backup / MANIFEST).read_text())
        files = manifest["files"]
        if manifest["version"] != VERSION:
            raise NodeError(f"{backup}: a backup of version {manifest['version']}; use that one")
        for name in (STORE_FILE, NETWORK_FILE, CONFIG_FILE):
            if _digest(backup / name) != files[name]:
                raise NodeError(f"{backup / name} is not as it was written: use another backup")
    except OSError as error:
        raise NodeError(f"{error.filename}: {error.strerror}; is this a backup?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise NodeError(f"{backup / MANIFEST}: not the manifest of a backup: {error}") from error
    return dict(manifest)


def _copy_database(source: Path, copy: Path) -> None:
    """As of one moment, through SQLite, while another process writes; then without the record."""
    try:
        with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(copy)) as writing:
            reading.backup(writing)
            with writing:
                writing.execute(
                    "DELETE FROM meta WHERE key IN (?, ?)", (SIGNER_KEY, RECORD_OWNER_KEY)
                )
            writing.execute("PRAGMA journal_mode = DELETE")
            (found,) = writing.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as error:
        raise NodeError(f"{source} cannot be copied to {copy}: {error}") from error
    if found != "ok":
        raise NodeError(f"{source} is damaged: {found}; the node has to fetch the chain again")


def _prove(
    path: Path, genesis: Genesis, record: dict[str, bytes | None] | None = None
) -> tuple[int, bytes, bytes]:
    """Open a chain's file as a node does, last blocks executed; head height, its hash, genesis."""
    store = SqliteStore(path)
    try:
        chain = Chain(store, genesis)
        head, genesis_hash = chain.head, chain.genesis_hash
        chain.flush()
        if record:
            store.put_durable_many(record)
    finally:
        store.close()
    _clear_beside(path)
    return head.number, head.hash, genesis_hash


def _read_record(target: Path) -> dict[str, bytes | None]:
    """What the data folder's key signed last; nothing where its file cannot be read any more."""
    try:
        store = SqliteStore(target)
    except StoreError as error:
        if "in use" in str(error):
            raise NodeError(f"{error}; stop the node first") from error
        return {}
    try:
        return {key: store.get_meta(key) for key in (SIGNER_KEY, RECORD_OWNER_KEY)}
    except LedgerError:
        return {}
    finally:
        store.close()


def _keep_aside(path: Path, name: Path) -> None:
    """Give a file a second name, so that one step puts another in its place: a kill in between
    leaves no folder without the signer record. Where the disk knows no second names, it moves."""
    try:
        os.link(path, name)
    except OSError:
        path.rename(name)


def _clear_beside(path: Path) -> None:
    """Remove SQLite's log and shared memory of a file, and its lock."""
    for ending in ("-wal", "-shm", ".lock"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            digest.update(part)
    return digest.hexdigest()
