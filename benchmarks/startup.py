"""How long a node with 100,000 blocks behind it needs until it has its head."""

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cluster import OWNER
from benchmarks.footprint import commit_block, make_genesis
from ledger.chain import Chain
from ledger.crypto.address import address_of
from ledger.store.sqlite import SqliteStore

START_BLOCKS = 100_000


def run() -> dict[str, Any]:
    """Seconds until a chain with 100,000 blocks behind it has its head."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.sqlite"
        owner = address_of(OWNER)
        chain = Chain(SqliteStore(path), make_genesis(owner), flush_blocks=512)
        for _ in range(START_BLOCKS):
            commit_block(chain, [])
        chain.close()
        began = time.perf_counter()
        chain = Chain(SqliteStore(path), make_genesis(owner))
        seconds = time.perf_counter() - began
        assert chain.head.number == START_BLOCKS
        chain.close()
    return {"blocks": START_BLOCKS, "seconds": round(seconds, 3)}
