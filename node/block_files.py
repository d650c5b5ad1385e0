"""Blocks in a file, carried where no network goes: one node writes it, another one checks it all.

    gzip of a msgpack stream
    ["wattledger/blocks/1", chain id, genesis hash]
    [block RLP, certificate]        one after the other, heights rising by one; a mined block has
                                    an empty one

Whoever imports verifies every certificate against the validators its own chain names, or the work
of every block, and executes it: the file is trusted no more than a peer. Not here: copies of a
whole data folder (`backup`).
"""

import gzip
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack

from ledger.block import decode_block, decode_certificate, encode_block
from ledger.branches import Branches, Place
from ledger.chain import Chain
from ledger.consensus.signer import SignerRecord, decode_record
from ledger.errors import EncodingError, LedgerError
from ledger.light import verify_certificate
from ledger.store.sqlite import SqliteStore
from node.config import load_config
from node.errors import NodeError
from node.network_files import STORE_FILE, load_network_file
from node.sync.certificates import read_certificate

FORMAT = "wattledger/blocks/1"
ITEM_BYTES_MAX = 4_194_304
"""A block has at most 2 MB; far above it is another file."""
ITEM_FIELDS_MAX = 3
"""Of the first item; four megabytes of empty lists would take 300 MB and seconds to unpack."""
NOT_OURS = "not a file of blocks written by wattledger node export"


def export_blocks(config_file: Path, out: Path, first: int = 1, last: int | None = None) -> int:
    """Write the blocks `first` to `last` (the head) of a stopped node; how many there were."""
    if out.exists():
        raise NodeError(f"{out} exists: it is never written over")
    partial = out.with_name(out.name + ".partial")
    with _open_chain(config_file) as chain:
        last = chain.head.number if last is None else min(last, chain.head.number)
        with gzip.open(partial, "wb") as file:
            head = (FORMAT, chain.genesis.chain_id, chain.genesis_hash)
            file.write(msgpack.packb(head))
            for height in range(max(1, first), last + 1):
                certificate = read_certificate(chain, height)
                if certificate is None and not chain.is_mined:
                    raise NodeError(f"block {height} has no certificate here")
                packed = certificate.encode() if certificate else b""
                file.write(msgpack.packb((encode_block(chain.block(height)), packed)))
    partial.rename(out)
    return max(0, last - max(1, first) + 1)


def import_blocks(config_file: Path, path: Path) -> tuple[int, int]:
    """Verify and execute the blocks of a file on a stopped node; (how many were new, head).

    Raises NodeError naming the block that is wrong; those before it stay.
    """
    with _open_chain(config_file) as chain:
        before = chain.head.number
        items = _read_items(path)
        _check_head(path, next(items, None), chain)
        branches = Branches(chain) if chain.is_mined else None
        for item in items:
            _import_one(path, item, chain, branches)
        return chain.head.number - before, chain.head.number


@contextmanager
def _open_chain(config_file: Path) -> Iterator[Chain]:
    """The chain of a node that is stopped: its store has a lock."""
    config = load_config(config_file)
    genesis = load_network_file(config.network).genesis
    store = SqliteStore(config.data / STORE_FILE)
    try:
        chain = Chain(store, genesis)
        yield chain
        chain.flush()
    finally:
        store.close()


def _read_items(path: Path) -> Iterator[Any]:
    """The items of the stream. Raises NodeError where it is cut off or no such stream."""
    unpacker = msgpack.Unpacker(
        max_buffer_size=ITEM_BYTES_MAX, max_array_len=ITEM_FIELDS_MAX, max_map_len=0, max_ext_len=0
    )
    try:
        with gzip.open(path, "rb") as file:
            while part := file.read(65_536):
                unpacker.feed(part)
                yield from unpacker
    except (OSError, EOFError, ValueError, zlib.error, msgpack.UnpackException) as error:
        raise NodeError(f"{path}: {NOT_OURS}, or cut off: {error}") from error


def _check_head(path: Path, item: Any, chain: Chain) -> None:
    match item:
        case [str() as name, int() as chain_id, bytes() as genesis_hash] if name == FORMAT:
            if (chain_id, genesis_hash) != (chain.genesis.chain_id, chain.genesis_hash):
                raise NodeError(f"{path}: its blocks are of another network, chain id {chain_id}")
        case _:
            raise NodeError(f"{path}: {NOT_OURS}")


def _import_one(path: Path, item: Any, chain: Chain, branches: Branches | None) -> None:
    """One block after the head, as sync takes it from a peer; what is here already is passed. A
    mined one finds its place in the tree: a longer branch in the file becomes the chain."""
    where = f"{path}: after block {chain.head.number}"
    try:
        match item:
            case [bytes() as raw_block, bytes() as raw_certificate]:
                block = decode_block(raw_block)
                if branches is not None:
                    if branches.add(block, int(time.time())).place is Place.ORPHAN:
                        raise NodeError(f"{where}: block {block.number} follows none of ours")
                    return
                certificate = decode_certificate(raw_certificate)
            case _:
                raise NodeError(f"{where}: {NOT_OURS}")
        if block.number <= chain.head.number:
            return
        where = f"{path}: block {block.number}"
        if block.number != chain.head.number + 1:
            raise NodeError(f"{where}: block {chain.head.number + 1} is missing before it")
        verify_certificate(
            block.header, certificate, chain.validators, chain.genesis.chain_id, chain.genesis_hash
        )
        chain.check(block, None)
        chain.commit(block, certificate, _raise_lease(chain, block.number + 1))
    except LedgerError as error:
        raise NodeError(f"{where}: {error}") from error


def _raise_lease(chain: Chain, height: int) -> bytes | None:
    """The signer record for the next height, as any import raises it; None leaves it as it is.

    One that lies below our head is an old copy, and stays one.
    """
    data = chain.store.load_signer()
    if data is None:
        return None
    try:
        lease = decode_record(data).lease
    except EncodingError:
        return None  # the node's start says what to do about a damaged one
    if not (height - 1, 0) <= lease < (height, 0):
        return None
    return SignerRecord((height, 0)).encode()
