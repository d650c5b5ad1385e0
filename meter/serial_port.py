"""Bytes from a serial port or from standard input, read by a thread, with the time they came.

The thread hands over (bytes, stamp) and waits until they are taken, so nothing is lost and nothing
piles up but in the port's own buffer. When nothing comes it hands over b"", so that time passes in
the same order as bytes. A port that is missing, busy or forbidden is tried again for ever.

Any URL of pyserial is a port: a path, socket://HOST:PORT, rfc2217://HOST:PORT, loop://.
"""

import asyncio
import errno
import grp
import os
import pwd
import select
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import serial

from meter.clock import Stamp

READ_TIMEOUT_S = 0.5  # how finely time passes while nothing comes
CHUNK_BYTES_MAX = 4_096  # what the kernel's own buffer of a terminal holds
STOP_TIMEOUT_S = 2.0  # a read in progress ends within READ_TIMEOUT_S
RETRY_S, RETRY_S_MAX = 1.0, 30.0
_PORTS = ("ttyAMA*", "ttyUSB*", "ttyACM*", "ttyS0", "serial*")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that came by `stamp`; `opened` with the first after the port was opened."""

    data: bytes
    stamp: Stamp
    opened: bool = False


Deliver = Callable[[Chunk], Awaitable[None]]


class ByteSource(Protocol):
    """Where a line's bytes come from."""

    def open(self) -> None: ...

    def read(self) -> bytes | None:
        """What has come, b"" if nothing within READ_TIMEOUT_S, None at the end for good."""

    def close(self) -> None: ...


class SerialPort:
    """A port of pyserial. Raises OSError (SerialException is one) when it cannot be had."""

    def __init__(self, url: str, baud: int) -> None:
        self._url = url
        self._baud = baud
        self._port: Any = None  # what pyserial has in common for all URLs is untyped

    def open(self) -> None:
        # Only a path has a lock that keeps a second program from taking half of the bytes.
        options: dict[str, Any] = {} if "://" in self._url else {"exclusive": True}
        try:
            self._port = serial.serial_for_url(
                self._url, baudrate=self._baud, timeout=READ_TIMEOUT_S, **options
            )
        except ValueError as error:  # an unknown kind of URL
            raise OSError(errno.EINVAL, str(error)) from error

    def read(self) -> bytes:
        waiting = min(max(1, self._port.in_waiting), CHUNK_BYTES_MAX)
        return bytes(self._port.read(waiting))

    def close(self) -> None:
        if self._port is not None:
            self._port.close()


class StandardInput:
    """Lines piped into the process; its end is the end of the source."""

    def open(self) -> None:
        self._file = sys.stdin.fileno()

    def read(self) -> bytes | None:
        if not select.select([self._file], [], [], READ_TIMEOUT_S)[0]:
            return b""
        return os.read(self._file, CHUNK_BYTES_MAX) or None

    def close(self) -> None:
        """Standard input stays open: it is not ours."""


class PortReader:
    """Reads a source until it ends or is stopped. `lost` is told why it cannot be read."""

    def __init__(self, source: ByteSource, deliver: Deliver, lost: Callable[[OSError], None]):
        self._source = source
        self._deliver = deliver
        self._lost = lost
        self._stop = threading.Event()

    async def run(self) -> None:
        """Returns when the source has ended for good. Raises what `deliver` raises."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def finish(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def work() -> None:
            error = None
            try:
                self._read_for_ever(loop)
            except CancelledError:
                return  # the loop is being stopped, and so are we
            except BaseException as caught:
                error = caught
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, error)

        thread = threading.Thread(target=work, name="port", daemon=True)
        thread.start()
        try:
            await done
        finally:
            self._stop.set()
            await loop.run_in_executor(None, thread.join, STOP_TIMEOUT_S)

    def _read_for_ever(self, loop: asyncio.AbstractEventLoop) -> None:
        retry_s = RETRY_S
        while not self._stop.is_set():
            try:
                self._source.open()
                opened, data = True, b""
                while not self._stop.is_set():
                    more = self._source.read()
                    if more is None:
                        self._hand_over(loop, Chunk(data + b"\n", Stamp.now(), opened))
                        return
                    data += more
                    # A socket gives byte by byte; a line's time is that of its end.
                    if more and b"\n" not in more and len(data) < CHUNK_BYTES_MAX:
                        continue
                    self._hand_over(loop, Chunk(data, Stamp.now(), opened))
                    opened, data, retry_s = False, b"", RETRY_S
            except OSError as error:
                loop.call_soon_threadsafe(self._lost, error)
            finally:
                self._source.close()
            self._wait(loop, retry_s)
            retry_s = min(retry_s * 2, RETRY_S_MAX)

    def _wait(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Time passes for the meter also while there is no port."""
        for _ in range(int(seconds / READ_TIMEOUT_S)):
            if self._stop.wait(READ_TIMEOUT_S):
                return
            self._hand_over(loop, Chunk(b"", Stamp.now()))

    def _hand_over(self, loop: asyncio.AbstractEventLoop, chunk: Chunk) -> None:
        async def deliver() -> None:
            await self._deliver(chunk)

        future = asyncio.run_coroutine_threadsafe(deliver(), loop)
        while not self._stop.is_set():
            try:
                future.result(READ_TIMEOUT_S)
                return
            except TimeoutError:
                if future.done():
                    raise
        future.cancel()


def explain(url: str, error: OSError) -> str:
    """Which port, what is wrong, and what to try."""
    if error.errno == errno.ENOENT:
        found = sorted(str(path) for name in _PORTS for path in Path("/dev").glob(name))
        there = ", ".join(found[:8]) or "none"
        return (
            f"port {url} does not exist (ports here: {there}); is the board connected, is the UART "
            "switched on (raspi-config, dtoverlay=disable-bt)?"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        group, user = _group_of(url), _user_name()
        return (
            f"no permission to read port {url}: user {user} must be in group {group}; "
            f"run: sudo usermod -aG {group} {user}, then log in again"
        )
    if error.errno in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return (
            f"port {url} is in use by another program; see which: sudo fuser -v {url} (a login "
            "console on it is switched off with raspi-config)"
        )
    return f"port {url}: {error}"


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _group_of(path: str) -> str:
    try:
        return grp.getgrgid(Path(path).stat().st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"
