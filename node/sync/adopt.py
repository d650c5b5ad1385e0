"""A staged state becomes the chain's own, with a signer record that is as safe as by importing.

Importing a block raises the signer's lease past it, unless the block's certificate shows a vote of
ours that the record does not know: then the record is an old copy and counts as missing. A snapshot
skips many blocks and does the same for all of them at once. Source: QBFT.md, "On disk before on the
wire".
"""

from ledger.block import decode_header
from ledger.chain import Chain
from ledger.consensus.signer import DISTRUSTED, SignerRecord, decode_record
from ledger.errors import StoreError
from ledger.store.members import load_changes
from ledger.types import Height
from node.changes import save_complete


def adopt_snapshot(chain: Chain, height: Height, own_seal: Height) -> None:
    """Make the staged state, as of a certified header, the head. Raises StoreError.

    `own_seal` is the highest block skipped whose certificate holds a signature of our own key.
    """
    kept = chain.store.staging.get_ahead(height)
    if kept is None:
        raise StoreError(f"block {height} has no header here: a snapshot needs it")
    header = decode_header(kept[0])
    signer = raise_record(chain.store.load_signer(), height + 1, own_seal)
    chain.store.adopt_staged(height, header.state_root, signer)
    save_complete(chain.store, height, load_changes(chain.store))
    chain.reopen()


def raise_record(raw: bytes | None, height: Height, own_seal: Height) -> bytes | None:
    """The signer record after so many imports, to work on `height`."""
    if raw is None:
        return None
    record = decode_record(raw)
    if record.lease >= (height, 0):
        return raw
    if own_seal >= record.lease[0] or record == DISTRUSTED:
        return DISTRUSTED.encode()
    return SignerRecord((height, 0)).encode()
