"""What node and worker say to each other: msgpack behind a length, over two pipes.

    node   -> worker   [kind, block, message, accounts, words]     run this; what is sent along
                       [address, nonce, balance, code hash], [address, slot, word]
    worker -> node     [ACCOUNT, address]        -> [nonce, balance, code hash]
                       [WORD, address, slot]     -> word
                       [CODE, code hash]         -> source
                       [DONE, status, gas left, output, logs, changes]
                       [FAULT, text]             this machine failed, not the contract
                       [READY]                   once, after the worker gave up its rights

An answer of nil means that the node could not read it: the worker ends the call with [ABANDONED].
Integers above 64 bits travel as big-endian bytes. Nothing of this is ever unpickled: who has
broken out of the contract language may send what he likes.
"""

import os
from collections.abc import Sequence
from typing import Any

import msgpack

from ledger.contract.execution import BlockContext, Message

ACCOUNT, WORD, CODE, DONE, FAULT, READY, ABANDONED = range(7)
FRAME_BYTES_MAX = 64 << 20
"""A call may allocate 8 MiB; what it writes, logs and returns, packed, is less than this."""
READ_BYTES = 1 << 18
LENGTH_BYTES = 4


def pack_int(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def unpack_int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def encode_block(block: BlockContext) -> list[Any]:
    return [
        block.height,
        block.timestamp,
        block.coinbase,
        pack_int(block.gas_limit),
        pack_int(block.base_fee),
        pack_int(block.chain_id),
        block.rules_version,
    ]


def decode_block(items: Sequence[Any]) -> BlockContext:
    height, timestamp, coinbase, gas_limit, base_fee, chain_id, rules_version = items
    return BlockContext(
        height,
        timestamp,
        coinbase,
        unpack_int(gas_limit),
        unpack_int(base_fee),
        unpack_int(chain_id),
        rules_version,
    )


def encode_message(message: Message) -> list[Any]:
    """A message for msgpack, which has no integers above 64 bits; `decode_message` reads it."""
    return [
        message.sender,
        message.to,
        pack_int(message.value),
        message.data,
        message.gas,
        message.static,
        message.origin,
        pack_int(message.gas_price),
    ]


def decode_message(items: Sequence[Any]) -> Message:
    sender, to, value, data, gas, static, origin, gas_price = items
    return Message(sender, to, unpack_int(value), data, gas, static, origin, unpack_int(gas_price))


class Channel:
    """Frames over a pair of file descriptors. One side speaks at a time."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._kept = bytearray()

    def send(self, value: Any) -> None:
        """Raises OSError where nobody listens any more."""
        body: bytes = msgpack.packb(value)
        frame = len(body).to_bytes(LENGTH_BYTES, "big") + body
        sent = os.write(self._outgoing, frame)
        while sent < len(frame):
            sent += os.write(self._outgoing, frame[sent:])

    def receive(self) -> Any:
        """The next frame. Raises EOFError where the other side is gone, ValueError for rubbish."""
        kept = self._kept
        while True:
            if len(kept) >= LENGTH_BYTES:
                size = int.from_bytes(kept[:LENGTH_BYTES], "big")
                if size > FRAME_BYTES_MAX:
                    raise ValueError(f"a frame of {size} bytes")
                end = LENGTH_BYTES + size
                if len(kept) >= end:
                    body = bytes(kept[LENGTH_BYTES:end])
                    del kept[:end]
                    return msgpack.unpackb(body)
            self.wait()
            part = os.read(self._incoming, READ_BYTES)
            if not part:
                raise EOFError
            kept += part

    def wait(self) -> None:
        """Until there is something to read; the node's side gives up after a while."""
