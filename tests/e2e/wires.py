"""A network of our own, packet by packet: each node in a network namespace, a switch in between.

The switch reads what a node's kernel sends from a TUN device and hands it to the other's kernel:
late, twice, out of order, damaged, one way only, or not at all. TCP and TLS are the real ones. Test
and load stand in a namespace of their own whose packets are never harmed. Needs the right to make
namespaces and /dev/net/tun; without root, where users may make their own:

    unshare -Urn sh -c "ip link set lo up; make test-deep"
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU_BYTES = 1_500
NETWORK = "10.77.0"
TESTER = 250  # the last byte of the test's own address; nodes have 1, 2, 3 ...
QUEUE_MAX = 20_000  # packets on their way, 30 MB; a full switch drops, as real ones do
TCP = 6


@dataclass
class Weather:
    """What befalls each packet between two nodes; shares in parts of one, times in seconds."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0
    damage: float = 0.0
    """One payload byte changed and the TCP checksum made right again: only TLS can notice."""


@dataclass
class Port:
    """One end: the namespace, kept alive by its descriptor, and the device in it."""

    number: int
    namespace: int
    device: int

    @property
    def enter(self) -> list[str]:
        """What to put before a command that shall run in it."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.namespace}"]


def _libc(call: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def _namespace() -> int:
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _make_port(number: int) -> Port:
    """Move this thread into a new namespace with one device. Raises OSError."""
    _libc("unshare", CLONE_NEWNET)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"wire", IFF_TUN | IFF_NO_PI))
    _ip("link", "set", "lo", "up")
    _ip("addr", "add", f"{NETWORK}.{number}/24", "dev", "wire")
    _ip("link", "set", "wire", "up", "mtu", str(MTU_BYTES))
    return Port(number, _namespace(), device)


class Wires:
    """Namespaces for nodes 1 to n, and the switch. The calling thread is moved into the test's own
    namespace, with all threads and processes that it starts, until `close`."""

    def __init__(self, nodes: int, seed: int = 0) -> None:
        self.weather = Weather()
        self.cuts: set[tuple[int, int]] = set()
        """(from, to) of nodes, 1 to n, whose packets go nowhere."""
        self.passed = self.dropped = self.damaged = 0
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._order = 0
        self._stopping = threading.Event()
        self._outside = _namespace()
        self.ports: dict[int, Port] = {}
        try:
            for number in (*range(1, nodes + 1), TESTER):  # the thread stays in the last one
                self.ports[number] = _make_port(number)
        except BaseException:
            self._leave()
            raise
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._leave()

    def _leave(self) -> None:
        _libc("setns", self._outside, CLONE_NEWNET)
        os.close(self._outside)
        for port in self.ports.values():
            os.close(port.device)
            os.close(port.namespace)

    # What befalls them.

    def cut(self, one: int, other: int) -> None:
        self.cuts |= {(one, other), (other, one)}

    def split(self, *groups: Iterable[int]) -> None:
        """Only within a group packets pass."""
        of = {number: index for index, group in enumerate(groups) for number in group}
        nodes = [number for number in self.ports if number != TESTER]
        self.cuts = {(a, b) for a in nodes for b in nodes if of.get(a, -a) != of.get(b, -b)}

    def heal(self) -> None:
        self.cuts = set()
        self.weather = Weather()

    # The switch.

    def _run(self) -> None:
        poll = select.poll()
        by_device = {port.device: port for port in self.ports.values()}
        for device in by_device:
            poll.register(device, select.POLLIN)
        while not self._stopping.is_set():
            wait_ms = 50.0
            if self._queue:
                wait_ms = min(wait_ms, max(0.0, (self._queue[0][0] - time.monotonic()) * 1_000))
            for device, _ in poll.poll(wait_ms):
                self._read(by_device[device])
            now = time.monotonic()
            while self._queue and self._queue[0][0] <= now:
                _, _, target, packet = heapq.heappop(self._queue)
                self._write(target, packet)

    def _read(self, port: Port) -> None:
        for _ in range(64):
            try:
                packet = os.read(port.device, MTU_BYTES + 100)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4 and packet[19] in self.ports:
                self._forward(port.number, packet[19], packet)

    def _forward(self, source: int, target: int, packet: bytes) -> None:
        if TESTER in (source, target):
            self._write(target, packet)
            return
        weather, chance = self.weather, self._random
        lost = weather.loss and chance.random() < weather.loss
        if (source, target) in self.cuts or lost or len(self._queue) >= QUEUE_MAX:
            self.dropped += 1
            return
        if weather.damage and chance.random() < weather.damage:
            packet = self._damage(packet)
        copies = 2 if weather.duplicates and chance.random() < weather.duplicates else 1
        for _ in range(copies):
            late_s = weather.delay_s + weather.jitter_s * chance.random()
            if not late_s:
                self._write(target, packet)
                continue
            self._order += 1
            heapq.heappush(self._queue, (time.monotonic() + late_s, self._order, target, packet))

    def _write(self, target: int, packet: bytes) -> None:
        try:
            os.write(self.ports[target].device, packet)
            self.passed += 1
        except BlockingIOError:
            self.dropped += 1  # its kernel takes no more just now

    def _damage(self, packet: bytes) -> bytes:
        header = (packet[0] & 15) * 4
        if packet[9] != TCP:
            return packet
        payload = header + (packet[header + 12] >> 4) * 4
        if payload >= len(packet):
            return packet
        self.damaged += 1
        spoiled = bytearray(packet)
        spoiled[self._random.randrange(payload, len(packet))] ^= 1 << self._random.randrange(8)
        spoiled[header + 16 : header + 18] = b"\0\0"
        pseudo = spoiled[12:20] + bytes([0, TCP]) + (len(packet) - header).to_bytes(2)
        total = checksum(bytes(pseudo) + bytes(spoiled[header:]))
        spoiled[header + 16 : header + 18] = total.to_bytes(2)
        return bytes(spoiled)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def make_wires(nodes: int, seed: int = 0) -> Wires:
    """The wires; skips the test, saying why, where they cannot be made."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are Linux's")
    try:
        return Wires(nodes, seed)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces with TUN devices need root: {error}")
