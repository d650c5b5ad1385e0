"""Rubbish on both ports of a real node: answered or shown out in bounded time, and blocks go on.

What each kind of rubbish gets is tested in `tests/node`; here all of it comes at once to a process
that signs meanwhile, and its memory and log are looked at afterwards.
"""

import json
import random
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from node.demo.grid import Grid
from tests.e2e.networks import read_log, run_network, until, watched
from tests.e2e.test_bad_days import Sender, check_logs, trouble_of

ANSWER_S = (
    20.0  # for any answer, on a loaded machine of two cores; a peer has 10 s to say who it is
)
FINAL_S = 15.0  # for a transaction while all this goes on; a slow client may stay for 30 s
REPLACED = "a newer connection takes its place"
"""Said where both nodes dialled at once: nobody is without the other for a moment."""
SLOW_CLIENTS = 200
CLAIMED_BYTES = (*[5 * 1024 * 1024] * 7, *[2**bits for bits in range(21, 5, -1)])
"""Bodies that clients announce: together all that a node reads at once, to the last bytes."""
BODY_BYTES_MAX = 5 * 1024 * 1024
MEMORY_BYTES_MAX = 200_000_000
"""At the peak: some 70 MB of a node, 32 MB of bodies being read, and what JSON makes of them."""

CALL = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}


def nest_lists(bytes_max: int) -> bytes:
    """RLP of lists in lists, as deep as so many bytes allow."""
    nested = b"\xc0"
    while len(nested) < bytes_max:
        size = len(nested)
        if size < 56:
            head = bytes([0xC0 + size])
        else:
            length = size.to_bytes((size.bit_length() + 7) // 8)
            head = bytes([0xF7 + len(length)]) + length
        nested = head + nested
    return nested


def raw_call(raw: bytes) -> bytes:
    return json.dumps(
        CALL | {"method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
    ).encode()


BODIES = {
    "half an object": (b'{"jsonrpc":"2.0","id":1,', -32700),
    "no JSON": (b"\x00\xff\xfe garbage", -32700),
    "arrays in arrays": (b"[" * 1_000_000, -32700),
    "objects in objects": (b'{"a":' * 500_000, -32700),
    "deep parameters": (json.dumps(CALL).encode().replace(b"[]", b"[" * 900 + b"]" * 900), -32602),
    "an endless number": (b'{"jsonrpc":"2.0","id":' + b"9" * 1_000_000 + b"}", -32700),
    "no request": (b"3", -32600),
    "an empty batch": (b"[]", -32600),
    "a batch bomb": (json.dumps([CALL] * 20_000).encode(), -32600),
    "no method": (json.dumps(CALL | {"method": "eth_nothing"}).encode(), -32601),
    "a long method": (json.dumps(CALL | {"method": "e" * 1_000_000}).encode(), -32601),
    "a bad parameter": (
        json.dumps(CALL | {"method": "eth_getBlockByNumber", "params": ["0x01", True]}).encode(),
        -32602,
    ),
    "no transaction": (raw_call(b"\x02garbage"), -32000),
    "an empty transaction": (raw_call(b""), -32000),
    "lists in lists": (raw_call(nest_lists(100_000)), -32000),
    "an oversized transaction": (raw_call(b"\x02" + bytes(1_000_000)), -32000),
    "a list that claims more": (raw_call(b"\xfb\xff\xff\xff\xff\x01"), -32000),
}


# JSON-RPC over raw sockets.


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)


def exchange(port: int, data: bytes) -> bytes:
    """Send these bytes and read until the node closes, answers in full or says nothing more."""
    with connect(port) as one:
        try:
            one.sendall(data)
            answer = one.recv(1 << 20)
            while b"Content-Length" in answer and not is_whole(answer):
                part = one.recv(1 << 20)
                if not part:
                    break
                answer += part
        except ConnectionError:
            return b""  # closed while we were still sending
        return answer


def is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return True


def post(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def error_code(answer: bytes) -> int:
    reply = json.loads(answer.partition(b"\r\n\r\n")[2])
    if isinstance(reply, list):
        (reply,) = reply
    assert "result" not in reply
    assert reply["error"]["message"]
    code: int = reply["error"]["code"]
    return code


def bother_rpc(port: int, chance: random.Random) -> Iterator[None]:
    """All of it, one after another; the caller looks at the node in between."""
    for name, (body, code) in BODIES.items():
        began = time.monotonic()
        assert error_code(exchange(port, post(body))) == code, name
        assert time.monotonic() - began < ANSWER_S, name
        yield
    too_long = exchange(port, post(b"", length=BODY_BYTES_MAX + 1))
    assert too_long.startswith(b"HTTP/1.1 413")
    assert error_code(too_long) == -32600
    yield
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunked += b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    assert exchange(port, chunked + chunk * 8)[:12] in (b"HTTP/1.1 413", b"")
    yield
    with connect(port) as one:  # lost amid a request
        one.sendall(post(b"[", length=1_000))
    yield
    for _ in range(50):  # no HTTP at all, or hardly any
        start = chance.choice([b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/9.9\r\n", b"\x16\x03\x01"])
        answer = exchange(port, start + chance.randbytes(chance.randrange(1, 3_000)) + b"\r\n\r\n")
        assert answer == b"" or b" 200 " not in answer[:13]
    yield


class SlowClients:
    """Many clients that each have begun a request and send another byte of it now and then."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        half = (b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ", post(b"[", length=1_000))
        self.sockets = [stack.enter_context(connect(port)) for _ in range(SLOW_CLIENTS)]
        for index, one in enumerate(self.sockets):
            one.sendall(half[index % 2])

    def trickle(self) -> None:
        for one in self.sockets:
            try:
                one.sendall(b" ")
            except ConnectionError:
                continue  # its 30 s are over: it was shown out


def claim_large_bodies(port: int, good: "Good") -> None:
    """Clients that say 5 MB and send one byte: large bodies wait, calls of a usual size do not."""
    with ExitStack() as stack:
        for size in CLAIMED_BYTES:
            one = stack.enter_context(connect(port))
            one.sendall(post(b"[", length=size))
        time.sleep(0.2)
        good.settle()
        one = stack.enter_context(connect(port))
        one.sendall(post(b"[", length=BODY_BYTES_MAX))
        assert one.recv(4_096).startswith(b"HTTP/1.1 503")
        good.settle()


# The peers' port.


def tls_connect(port: int) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connect(port))


def shout(one: socket.socket, data: bytes) -> None:
    """Send and do not mind being shown out."""
    try:
        one.sendall(data)
    except OSError:
        return


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
FRAMES = {
    "an endless frame": b"\x82\xff" + (2**62).to_bytes(8) + bytes(4),
    "a frame above the limit": b"\x82\xff" + (4 * 1024 * 1024 + 1).to_bytes(8) + bytes(1_000_000),
    "a bomb of arrays": b"\x82\xfe\x10\x00" + bytes(4) + b"\x91" * 0x1000,
    "reserved bits": b"\xf2\x81" + bytes(5),
    "a text": b"\x81\x85" + bytes(4) + b"hello",
    "a fragment without an end": b"\x02\x81" + bytes(5),
}


def bother_peers(port: int, chance: random.Random) -> Iterator[None]:
    for _ in range(30):  # plain TCP
        with connect(port) as one:
            shout(one, chance.choice([b"", b"GET / HTTP/1.1\r\n\r\n", chance.randbytes(2_000)]))
    yield
    for _ in range(10):  # TLS, then no HTTP
        with tls_connect(port) as one:
            shout(one, chance.randbytes(5_000))
    yield
    for frame in FRAMES.values():  # TLS, a WebSocket, then no handshake
        with tls_connect(port) as one:
            one.sendall(UPGRADE)
            assert b" 101 " in one.recv(4_096)
            shout(one, frame + chance.randbytes(1_000))
            drain(one)
        yield


def drain(one: socket.socket) -> None:
    """Until the node has closed."""
    try:
        while one.recv(1 << 16):
            pass
    except (ConnectionError, ssl.SSLError):
        return


# The story.


def memory_peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1_024
    raise AssertionError("no VmHWM")


class Good:
    """An honest client that is served all the while."""

    def __init__(self, grid: Grid) -> None:
        self.client = grid.client(0)
        self.sender = Sender(grid, secrets.token_bytes(32))
        self.slowest_s = 0.0

    def settle(self) -> None:
        began = time.monotonic()
        self.sender.settle(self.client)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)


@pytest.mark.timeout(200)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc for memory")
def test_rubbish_on_both_ports_stops_no_block(tmp_path: Path) -> None:
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with run_network(tmp_path / "grid", 2) as grid, ExitStack() as stack:
        member = grid.network.members[0]
        good = Good(grid)
        good.settle()
        before = {name: len(read_log(grid, name)) for name in ("node1", "node2")}
        slow = SlowClients(member.rpc_port, stack)
        for bother in (bother_rpc(member.rpc_port, chance), bother_peers(member.port, chance)):
            for _ in bother:
                good.settle()
                slow.trickle()
        claim_large_bodies(member.rpc_port, good)
        silent = [stack.enter_context(connect(member.port)) for _ in range(100)]
        good.settle()
        assert len(silent) == 100
        check_node(grid, good)
        assert [find_lost(grid, name, at) for name, at in before.items()] == [[], []]


def find_lost(grid: Grid, name: str, begun: int) -> list[str]:
    """What a node's log says, from a place in it on, of connections with peers that were lost."""
    lines = read_log(grid, name)[begun:].splitlines()
    return [line for line in lines if " disconnected " in line and REPLACED not in line]


def check_node(grid: Grid, good: Good) -> None:
    peers: list[dict[str, Any]] = grid.client(0).call("admin_peers")
    assert [peer["name"] for peer in peers] == ["node2"]
    assert trouble_of(grid, 0) is None
    assert good.slowest_s < FINAL_S
    peak = memory_peak_bytes(watched(grid).pid("node1"))
    print(f"slowest {good.slowest_s:.2f} s, {peak / 1e6:.0f} MB at the peak")
    assert peak < MEMORY_BYTES_MAX
    until(lambda: grid.client(1).height() == grid.client(0).height(), ANSWER_S, "the other node")
    check_logs(grid)
