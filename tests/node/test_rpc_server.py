"""The JSON-RPC port against a table of toy methods: wire format, limits, CORS, WebSocket."""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from io import BytesIO, StringIO
from typing import Any

import aiohttp
import pytest

from node.log import Log
from node.rpc import dispatch, server
from node.rpc.codec import BATCH_CALLS_MAX, BODY_BYTES_MAX
from node.rpc.dispatch import Dispatcher, MethodTable
from node.rpc.errors import RpcError
from node.rpc.parameters import Parameter, parse_account, parse_block, parse_bool, parse_quantity
from node.rpc.server import RpcServer
from node.rpc.session import UNREAD_BYTES_MAX, Session, Unread

TABLE = MethodTable()


@TABLE.method("eth_chainId")
def chain_id(context: Any) -> str:
    return "0x79b"


@TABLE.method("toy_add", Parameter("left", parse_quantity), Parameter("right", parse_quantity, 1))
async def add(context: Any, left: int, right: int) -> str:
    return hex(left + right)


@TABLE.method("toy_fail")
def fail(context: Any) -> str:
    raise KeyError("a bug of ours")


@TABLE.method("toy_long")
def long(context: Any) -> str:
    return "x" * 11_000_000


@TABLE.method("toy_null", Parameter("account", parse_account), Parameter("full", parse_bool, False))
def null(context: Any, account: bytes, full: bool) -> None:
    return None


async def double_all(context: Any, values: list[list[object]]) -> list[object]:
    BULK_SIZES.append(len(values))
    return [
        RpcError(-32000, "nonce too low") if value == 13 else value * 2  # type: ignore[operator]
        for [value] in values
    ]


BULK_SIZES: list[int] = []


@TABLE.method("toy_double", Parameter("value", parse_quantity), bulk=double_all)
def double(context: Any, value: int) -> int:
    return value * 2


class Gate:
    """Heavy calls wait here before they work, and say in what order they did."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.order: list[object] = []

    async def work(self, name: object) -> None:
        await self.open.wait()
        time.sleep(0.05)
        self.order.append(name)


GATE = Gate()


@TABLE.method("toy_heavy", Parameter("block", parse_block), heavy=True)
async def heavy(context: Any, block: object) -> str:
    await GATE.work("heavy")
    return "done"


@TABLE.method(
    "toy_old", Parameter("value", parse_quantity), is_old=lambda context, value: value > 9
)
async def old(context: Any, value: int) -> int:
    if value > 9:
        await GATE.work(value)
    return value


@TABLE.method("toy_subscribe")
def subscribe(context: Session | None) -> str:
    assert context is not None
    for number in range(3):
        context.send(b'{"number":%d}' % number)
    context.subscriptions["0x1"] = lambda: ENDED.append("0x1")
    return "0x1"


@TABLE.method("toy_flood")
def flood(context: Session | None) -> str:
    assert context is not None
    for _ in range(20_000):
        context.send(b"{}")
    return "0x1"


ENDED: list[str] = []

Story = Callable[[int], Awaitable[None]]


def run(story: Story, **options: Any) -> str:
    """Serve TABLE while a story runs; returns what was logged."""
    stream = StringIO()

    async def main() -> None:
        log = Log(stream=stream)
        rpc = RpcServer(Dispatcher(TABLE, log), lambda session: session, log, **options)
        port = await rpc.listen("127.0.0.1", 0)
        try:
            await story(port)
        finally:
            await rpc.close()

    asyncio.run(main())
    return stream.getvalue()


PATIENCE_S = 30.0
"""For what takes milliseconds on an idle machine."""


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def exchange(port: int, request: bytes) -> bytes:
    """Send raw bytes, return what the server says until it closes or is silent after a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    data = b""
    try:
        while part := await asyncio.wait_for(reader.read(1 << 20), 0.5 if data else PATIENCE_S):
            data += part
    except TimeoutError:
        assert data, "it says nothing, and does not close"
    writer.close()
    return data


def post_bytes(body: bytes, *headers: str) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    return ("\r\n".join(lines) + f"\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


async def ask(port: int, body: object) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as client,
        client.post(
            f"http://127.0.0.1:{port}",
            data=BytesIO(raw),
            headers={"Content-Type": "application/json"},
        ) as reply,
    ):
        text = await reply.read()
        return json.loads(text) if text else None


def request(method: str, *params: object, id: object = 1) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": list(params)}


def test_a_reply_is_one_write_without_chunks_or_a_space_after_the_colon() -> None:
    async def story(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post_bytes(json.dumps(request("eth_chainId")).encode()))
        first = await reader.read(1 << 16)  # one segment holds head and body
        head, body = first.split(b"\r\n\r\n")
        assert body == b'{"jsonrpc":"2.0","id":1,"result":"0x79b"}'
        assert b"chunked" not in head
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"Content-Type: application/json" in head
        writer.close()

    run(story)


@pytest.mark.parametrize("call_id", [0, 7, -1, "abc", "", None, 1.5, 2**63])
def test_ids_of_every_kind_come_back(call_id: object) -> None:
    async def story(port: int) -> None:
        reply = await ask(port, request("eth_chainId", id=call_id))
        assert reply["id"] == call_id
        assert type(reply["id"]) is type(call_id)

    run(story)


ERRORS = [
    (b"{", -32700, "parse error"),
    (b"", -32700, "parse error"),
    (b"\xff\xfe", -32700, "parse error"),
    (b"[" * 5_000, -32700, "parse error"),
    (b"[]", -32600, "empty batch"),
    (b"1", -32600, "a request is an object"),
    (b'{"jsonrpc":"2.0","id":1}', -32600, "method must be a string"),
    (b'{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}', -32600, 'jsonrpc must be "2.0"'),
    (b'{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}', -32600, "id must be"),
    (b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{}}', -32600, "by position"),
    (request("eth_nothing"), -32601, "the method eth_nothing does not exist/is not available"),
    (request("toy_add"), -32602, "missing value for required argument 0 (left)"),
    (request("toy_add", "0x1", "0x2", "0x3"), -32602, "too many arguments, want at most 2"),
    (request("toy_add", 1), -32602, "invalid argument 0 (left): expected a string, got a number"),
    (request("toy_add", "0x01"), -32602, "invalid argument 0 (left): hex number with leading zero"),
    (request("toy_add", "1"), -32602, "hex string without 0x prefix"),
    (request("toy_add", "0x" + "f" * 65), -32602, "hex number > 256 bits"),
    (request("toy_null", "0x12"), -32602, "invalid argument 0 (account): an address is"),
    (request("toy_null", "0x" + "1" * 40, "yes"), -32602, "argument 1 (full): expected true or"),
    (request("toy_heavy", {"blockHash": "0x12"}), -32602, "invalid argument 0 (block)"),
    (request("toy_heavy", "newest"), -32602, "invalid argument 0 (block)"),
    (request("toy_fail"), -32603, "internal error"),
]


@pytest.mark.parametrize(("body", "code", "words"), ERRORS)
def test_what_is_wrong_gets_the_error_a_geth_user_knows(
    body: object, code: int, words: str
) -> None:
    async def story(port: int) -> None:
        reply = await ask(port, body)
        assert reply["error"]["code"] == code
        assert words in reply["error"]["message"]
        assert "result" not in reply

    run(story)


def test_a_bug_is_logged_and_its_traceback_reaches_no_caller() -> None:
    async def story(port: int) -> None:
        assert "KeyError" not in json.dumps(await ask(port, request("toy_fail")))

    logged = run(story)
    assert "KeyError" in logged
    assert "test_rpc_server.py" in logged


def test_null_is_a_result() -> None:
    async def story(port: int) -> None:
        reply = await ask(port, request("toy_null", "0x" + "11" * 20))
        assert reply == {"jsonrpc": "2.0", "id": 1, "result": None}

    run(story)


def test_notifications_get_no_reply() -> None:
    async def story(port: int) -> None:
        note = {"jsonrpc": "2.0", "method": "eth_chainId"}
        assert await ask(port, note) is None
        assert await ask(port, [note, note]) is None
        mixed = await ask(port, [note, request("eth_chainId", id=5)])
        assert [reply["id"] for reply in mixed] == [5]

    run(story)


def test_a_batch_answers_each_call_by_its_id() -> None:
    async def story(port: int) -> None:
        calls = [request("toy_add", hex(n), "0x1", id=f"n{n}") for n in range(100)]
        calls[50] = request("eth_nothing", id="n50")
        replies = {
            reply["id"]: reply for reply in await ask(port, [*calls, 3, {"id": 9, "method": 1}])
        }
        assert replies["n7"]["result"] == "0x8"
        assert replies["n50"]["error"]["code"] == -32601
        assert replies[None]["error"]["code"] == -32600
        assert replies[9]["error"]["code"] == -32600

    run(story)


def test_a_run_of_calls_of_one_method_is_answered_at_once() -> None:
    async def story(port: int) -> None:
        BULK_SIZES.clear()
        calls = [request("toy_double", hex(n), id=n) for n in range(20)]
        calls[3] = request("toy_double", "bad", id=3)
        replies = {reply["id"]: reply for reply in await ask(port, calls)}
        assert BULK_SIZES == [19]
        assert replies[3]["error"]["code"] == -32602
        assert replies[13]["error"] == {"code": -32000, "message": "nonce too low"}
        assert all(replies[n]["result"] == 2 * n for n in range(20) if n not in (3, 13))

    run(story)


def test_batches_bodies_and_replies_are_bounded() -> None:
    async def story(port: int) -> None:
        bomb = [request("eth_chainId", id=n + 1) for n in range(BATCH_CALLS_MAX + 1)]
        [reply] = await ask(port, bomb)
        assert reply["id"] == 1
        assert "batch too large" in reply["error"]["message"]

        huge = await ask(port, b" " * (BODY_BYTES_MAX + 1))
        assert huge["error"]["code"] == -32600
        endless = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        endless += b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        endless += (b"100000\r\n" + b" " * 0x100000 + b"\r\n") * 5
        assert b"413" in (await exchange(port, endless))[:20]

        replies = await ask(port, [request("toy_long", id=n) for n in range(3)])
        assert [len(reply.get("result", "")) for reply in replies] == [11_000_000, 11_000_000, 0]
        assert replies[2]["error"]["code"] == -32003

    run(story)


def test_a_body_that_trickles_and_a_head_that_never_ends_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "READ_TIMEOUT_S", 0.3)

    async def story(port: int) -> None:
        slow = post_bytes(b"{}").replace(b"Content-Length: 2", b"Content-Length: 2000")
        assert b"408" in (await exchange(port, slow))[:20]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHo")

        def is_shown_out() -> bool:
            writer.write(b"s")
            return reader.at_eof() or reader.exception() is not None

        await until(is_shown_out)
        writer.close()

    run(story)


def test_a_connection_above_the_bound_is_closed_and_the_others_live() -> None:
    faults: list[dict[str, Any]] = []

    async def story(port: int) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await exchange_or_reset(port) == b""
        open_ones[0][1].close()
        async with asyncio.timeout(PATIENCE_S):  # the server hears of it a little later
            while b"0x79b" not in await exchange_or_reset(port):
                await asyncio.sleep(0.05)
        for _, writer in open_ones:
            writer.close()

    async def exchange_or_reset(port: int) -> bytes:
        try:
            return await exchange(port, post_bytes(json.dumps(request("eth_chainId")).encode()))
        except ConnectionError:
            return b""

    assert "too many connections" in run(story, connections_max=3)
    gc.collect()
    assert faults == [], "no task of the connection that was refused failed"


def test_browsers_may_call_after_a_preflight() -> None:
    async def story(port: int) -> None:
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{port}"
            asked = {
                "Origin": "https://portfolio.metamask.io",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
                "Access-Control-Request-Private-Network": "true",
            }
            async with client.options(url, headers=asked) as reply:
                assert reply.status == 204
                assert reply.headers["Access-Control-Allow-Origin"] == "*"
                assert "POST" in reply.headers["Access-Control-Allow-Methods"]
                assert reply.headers["Access-Control-Allow-Headers"] == "content-type"
                assert reply.headers["Access-Control-Allow-Private-Network"] == "true"
            headers = {"Origin": "null", "Content-Type": "application/json"}
            body = json.dumps(request("eth_chainId"))
            async with client.post(url, data=body, headers=headers) as reply:
                assert reply.headers["Access-Control-Allow-Origin"] == "*"
            async with client.post(url, data=body) as reply:
                assert reply.status == 415  # a form of a web page needs no preflight: refused
            async with client.get(url) as reply:
                assert reply.status == 200
            async with client.put(url, data=body) as reply:
                assert reply.status == 405

    run(story)


def test_only_listed_origins_are_allowed() -> None:
    async def story(port: int) -> None:
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{port}"
            for origin, allowed in (("https://a.example", True), ("https://b.example", False)):
                async with client.options(url, headers={"Origin": origin}) as reply:
                    assert ("Access-Control-Allow-Origin" in reply.headers) is allowed
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await client.ws_connect(url, headers={"Origin": "https://b.example"})

    run(story, origins=("https://a.example",))


def test_a_websocket_answers_calls_batches_and_pushes() -> None:
    async def story(port: int) -> None:
        ENDED.clear()
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"ws://127.0.0.1:{port}") as socket,
        ):
            await socket.send_str(json.dumps(request("eth_chainId", id="x")))
            assert (await socket.receive()).data == '{"jsonrpc":"2.0","id":"x","result":"0x79b"}'
            await socket.send_str(json.dumps([request("eth_chainId", id=n) for n in range(3)]))
            assert len((await socket.receive()).json()) == 3
            await socket.send_str("{")
            assert (await socket.receive()).json()["error"]["code"] == -32700
            await socket.send_str(json.dumps(request("toy_subscribe")))
            pushed = [(await socket.receive()).json() for _ in range(4)]
            assert [item.get("number") for item in pushed] == [0, 1, 2, None]
        await until(lambda: ENDED)
        assert ENDED == ["0x1"]

    run(story)


def test_a_client_that_reads_slower_than_events_come_is_cut_off() -> None:
    async def story(port: int) -> None:
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"ws://127.0.0.1:{port}") as socket,
        ):
            await socket.send_str(json.dumps(request("toy_flood")))
            async with asyncio.timeout(PATIENCE_S):
                while not (await socket.receive()).type.name.startswith("CLOS"):
                    pass
            assert socket.close_code == 1013

    run(story)


async def ask_without_reading(port: int, head: bytes, body: bytes) -> asyncio.StreamWriter:
    """Send a request over a socket that nobody reads from."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
    writer.write(head)
    if b"Upgrade" in head:
        await reader.readuntil(b"\r\n\r\n")
    writer.write(body)
    return writer


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize("over_websocket", [False, True])
def test_clients_that_read_nothing_take_bounded_memory_and_are_cut_off(
    monkeypatch: pytest.MonkeyPatch, over_websocket: bool
) -> None:
    """Each may ask for 25 MB, and there may be a thousand of them."""
    unread = Unread()
    monkeypatch.setattr(server, "WRITE_TIMEOUT_S", 2.0)
    monkeypatch.setattr(server, "Unread", lambda: unread)
    body = json.dumps(request("toy_long")).encode()
    head = UPGRADE if over_websocket else b""
    masked = b"\x81" + bytes([0x80 | len(body)]) + bytes(4) + body
    held: list[int] = []

    async def story(port: int) -> None:
        sent = masked if over_websocket else post_bytes(body)
        writers = [await ask_without_reading(port, head, sent) for _ in range(12)]
        async with asyncio.timeout(3 * PATIENCE_S):
            while max(held, default=0) <= 22_000_000 or held[-1]:
                held.append(unread._bytes)
                assert (await ask(port, request("eth_chainId")))["result"] == "0x79b"
                await asyncio.sleep(0.03)
        for writer in writers:
            writer.close()

    run(story)
    assert 22_000_000 < max(held) <= UNREAD_BYTES_MAX
    assert held[-1] == 0


def test_heavy_calls_leave_half_of_the_time_to_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "HEAVY_WAITING_MAX", 6)

    async def story(port: int) -> None:
        GATE.open = asyncio.Event()
        asked = [
            asyncio.create_task(ask(port, request("toy_heavy", "latest", id=n))) for n in range(8)
        ]
        await until(lambda: sum(one.done() for one in asked) == 2)
        started = time.perf_counter()
        GATE.open.set()
        replies = await asyncio.gather(*asked)
        took = time.perf_counter() - started
        busy = [reply for reply in replies if "error" in reply]
        assert [reply["error"]["code"] for reply in busy] == [-32005] * 2
        assert took > 6 * 0.05 + 5 * 0.04  # each ran 50 ms and rested as long

    run(story)


def test_many_may_wait_to_read_old_blocks_and_take_turns_with_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "HEAVY_WAITING_MAX", 2)
    monkeypatch.setattr(dispatch, "OLD_WAITING_MAX", 10)
    lanes: list[Any] = []
    make_lane = dispatch.HeavyLane
    monkeypatch.setattr(dispatch, "HeavyLane", lambda: lanes.append(make_lane()) or lanes[0])

    async def story(port: int) -> None:
        GATE.open, GATE.order = asyncio.Event(), []
        reads = [
            asyncio.create_task(ask(port, request("toy_old", hex(number))))
            for number in range(10, 24)
        ]
        await until(lambda: sum(read.done() for read in reads) == 4)
        assert (await ask(port, request("toy_old", "0x9")))["result"] == 9  # at hand: no turn
        heavy = asyncio.create_task(ask(port, request("toy_heavy", "latest")))
        await until(lambda: lanes[0]._waiting[False] == 1)
        started = time.perf_counter()
        GATE.open.set()
        answers = await asyncio.gather(*reads)
        assert time.perf_counter() - started > 10 * 0.09  # half of it was left to consensus
        assert sum("error" in answer for answer in answers) == 4
        assert (await heavy)["result"] == "done"
        assert GATE.order.index("heavy") == 1

    run(story)
