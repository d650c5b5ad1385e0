"""A wire that can be cut: TCP from a local port to a node, until somebody pulls it out."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

CHUNK_BYTES = 65_536
CONNECTIONS_MAX = 64  # a meter has one or two to each node


class Relay:
    """Relays of 127.0.0.1 ports to others, in a thread of their own; `cut` and `mend` them all."""

    def __init__(self, ports: dict[int, int]) -> None:
        self._ports = ports
        self._loop = asyncio.new_event_loop()
        self._whole = False
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.mend()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        self._call(self._close())

    def mend(self) -> None:
        """Take connections again."""
        self._call(self._open())

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _open(self) -> None:
        for port, target in self._ports.items():

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int = target
            ) -> None:
                task = asyncio.current_task()
                assert task is not None
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                with contextlib.suppress(asyncio.CancelledError):  # by `cut`
                    await _join(reader, writer, target)

            server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=CONNECTIONS_MAX)
            self._servers.append(server)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    """Copy both ways until either end closes."""
    far_writer: asyncio.StreamWriter | None = None
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        copies = [
            asyncio.ensure_future(_copy(reader, far_writer)),
            asyncio.ensure_future(_copy(far_reader, writer)),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in copies:
                one.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
    except OSError:
        pass  # the node is down: the meter sees its connection close, as on a real network
    finally:
        for one_writer in (writer, far_writer):
            if one_writer is not None:
                one_writer.close()
                with contextlib.suppress(OSError):
                    await one_writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
