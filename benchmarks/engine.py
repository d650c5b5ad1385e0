"""What one step of the QBFT engine costs beside its signatures, for 4, 7 and 21 validators.

All engines sit in one process; what one sends, every other receives at once. Signing and recovering
are replaced by a table; what remains is the engine's own: reading a message, its digest, the
rules, writing the answer. Blocks are empty and hashed
before: what transactions cost is measured in `stages`. Of a hundred steps the slowest is left out:
there another process had its turn.
"""

import time
from collections import deque
from typing import Any
from unittest import mock

from ledger.block import Block, Header
from ledger.consensus import events as ev
from ledger.consensus import messages
from ledger.consensus.qbft import Qbft
from ledger.consensus.settings import Settings
from ledger.consensus.signer import initial_record
from ledger.crypto.address import address_of

SIZES = (4, 7, 21)
BLOCKS = 40
WARM_UP_BLOCKS = 5
GENESIS_HASH = bytes(32)
CHAIN_ID = 1_947


class _Table:
    """Signatures by looking them up: the author stands in front."""

    def __init__(self, keys: list[bytes]) -> None:
        self.addresses = {key: address_of(key) for key in keys}

    def sign(self, key: bytes, digest: bytes) -> bytes:
        return self.addresses[key] + digest + bytes(13)

    def recover(self, digest: bytes, signature: bytes) -> bytes:
        assert signature[20:52] == digest
        return signature[:20]


class _Ring:
    """Engines and the queue of what they are to be told."""

    def __init__(self, keys: list[bytes]) -> None:
        self.members = sorted(map(address_of, keys))
        self.engines = {
            address_of(key): Qbft(Settings(CHAIN_ID, GENESIS_HASH, 10_000, 60_000, 0), key)
            for key in keys
        }
        self.queue: deque[tuple[bytes, ev.Event]] = deque()
        self.height = 0
        self.took_us: dict[str, list[float]] = {}
        started = ev.Started(0, GENESIS_HASH, tuple(self.members), initial_record())
        for member in self.members:
            self.queue.append((member, started))
            self.queue.append((member, ev.WorkWaiting(True)))
        rested = messages.Status(1, 0, False)
        for member in self.members:
            for other in self.members:
                self.queue.append((member, ev.PeerStatus(other, rested, other)))

    def run(self, blocks: int) -> None:
        while self.queue and self.height < blocks:
            member, event = self.queue.popleft()
            began = time.perf_counter_ns()
            effects = self.engines[member].step(event, 1)
            took_us = (time.perf_counter_ns() - began) / 1_000
            if self.height >= WARM_UP_BLOCKS:
                self.took_us.setdefault(type(event).__name__, []).append(took_us)
            for effect in effects:
                self._carry_out(member, effect)

    def _carry_out(self, member: bytes, effect: ev.Effect) -> None:
        match effect:
            case ev.Send(message, _):
                received = ev.Received(member, message)
                self.queue.extend((one, received) for one in self.members if one != member)
            case ev.BuildBlock(height, round_):
                block = _make_block(member, height)
                self.queue.append((member, ev.BlockBuilt(height, round_, block)))
            case ev.CheckBlock(block):
                checked = ev.BlockChecked(block.hash, ev.Verdict.VALID)
                self.queue.append((member, checked))
            case ev.CommitBlock(block, _, _):
                self.height = block.number
                members = tuple(self.members)
                imported = ev.BlockImported(block.number, block.hash, members, True)
                self.queue.append((member, imported))
                _PARENTS[block.number] = block.hash


_PARENTS: dict[int, bytes] = {0: GENESIS_HASH}


def _make_block(coinbase: bytes, height: int) -> Block:
    root = bytes(32)
    block = Block(
        Header(
            parent_hash=_PARENTS[height - 1],
            coinbase=coinbase,
            state_root=root,
            transactions_root=root,
            receipts_root=root,
            bloom=bytes(256),
            number=height,
            gas_limit=15_000_000,
            gas_used=0,
            timestamp=1,
            extra_data=b"",
            mix_hash=root,
            base_fee=0,
        ),
        (),
    )
    assert block.hash  # as the chain has computed it before the engine hears of the block
    return block


def run() -> list[dict[str, Any]]:
    """For each size the microseconds of a step: mean of all, median and most by event."""
    results = []
    for size in SIZES:
        keys = [bytes([index + 1]) * 32 for index in range(size)]
        table = _Table(keys)
        with (
            mock.patch.object(messages, "sign_compact", table.sign),
            mock.patch.object(messages, "recover_address_compact", table.recover),
        ):
            ring = _Ring(keys)
            ring.run(BLOCKS)
        usual = {
            kind: sorted(took)[: -(-len(took) * 99 // 100)] for kind, took in ring.took_us.items()
        }
        every = [took for kind in usual.values() for took in kind]
        results.append(
            {
                "validators": size,
                "steps": len(every),
                "mean_us": round(sum(every) / len(every), 1),
                "by_event_us": {
                    kind: {"median": round(took[len(took) // 2], 1), "most": round(took[-1], 1)}
                    for kind, took in sorted(usual.items())
                },
            }
        )
    return results
