"""The JSON-RPC port: HTTP POST, WebSocket and CORS on one aiohttp server.

Belongs here: sockets, headers, and the bounds that keep slow or greedy clients from starving the
node. Not here: JSON (`codec`), methods. A reply is one write with a Content-Length: the HTTP parser
of an ESP32 reads no chunks. Source: fetch.spec.whatwg.org (CORS), geth's rpc package (bounds).
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError

from node.errors import NodeError
from node.log import Log
from node.request_log import make_request_logger
from node.rpc.codec import BODY_BYTES_MAX, encode_error
from node.rpc.dispatch import Dispatcher
from node.rpc.errors import INVALID_REQUEST, RpcError
from node.rpc.session import Session, Unread

READ_TIMEOUT_S = 30.0
"""For a request's head, from the first byte or the last request, and again for its body."""
WRITE_TIMEOUT_S = 60.0
"""For a client to take a reply or an event: 25 MB, at half a megabyte a second."""
BODIES_BYTES_MAX = 32 * 1024 * 1024
"""Of all large request bodies being read at once; a client beyond it is told to come again."""
BODY_BYTES_SMALL = 32 * 1024
"""A body up to this is read however much is being read: or seven clients that send 5 MB slowly
would shut out every wallet and meter. A record of a hundred hours has some 20 kB."""
HEARTBEAT_S = 30.0
"""A WebSocket that answers no ping within half of it is closed."""
SHUTDOWN_S = 2.0
"""For requests under way when the node stops."""
JSON_TYPES = ("application/json", "application/json-rpc", "application/jsonrequest")
Page = Callable[[], tuple[str, bytes]]
"""What GET of a path answers: content type and body."""
GREETING = b"This is a Wattledger node. POST JSON-RPC here, or open a WebSocket.\n"


class BoundedServer(web.Server):
    """aiohttp's server with a bound on connections; one more is closed at once."""

    def __init__(self, handler: Any, connections_max: int, log: Log) -> None:
        super().__init__(
            handler,
            keepalive_timeout=READ_TIMEOUT_S,
            access_log=None,
            lingering_time=1.0,
            logger=make_request_logger(log, "rpc"),
        )
        self._connections_max = connections_max
        self._log = log

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > self._connections_max:
            self._log.seldom("rpc", "too many connections, one refused", max=self._connections_max)
            # At once, it would be gone before the first step of its task, which then fails.
            asyncio.get_running_loop().call_soon(transport.abort)


class RpcServer:
    """Listens on one port and answers with a dispatcher.

    `make_context` gives what methods are handed, from the WebSocket session or None. `origins` are
    the web origins that may call ("*" for all). `connections_max` bounds open sockets.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        make_context: Callable[[Session | None], Any],
        log: Log,
        *,
        origins: tuple[str, ...] = ("*",),
        connections_max: int = 1_000,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        self._pages = pages or {}
        self._dispatcher = dispatcher
        self._make_context = make_context
        self._log = log
        self._origins = origins
        self._connections_max = connections_max
        self._http_context = make_context(None)
        self._bodies_bytes = 0
        self._unread = Unread()
        self._server: BoundedServer | None = None
        self._listeners: list[asyncio.Server] = []

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Open the port (0 for any) and return its number. Raises NodeError where it is taken."""
        if self._server is None:
            self._server = BoundedServer(self._handle, self._connections_max, self._log)
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(self._server, host, port, ssl=tls)
        except OSError as error:
            raise NodeError(
                f"cannot listen for JSON-RPC on {host} port {port}: {error.strerror or error}; "
                "is another node running, or is rpc.port taken?"
            ) from error
        self._listeners.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, let requests under way end, close the rest."""
        for listener in self._listeners:
            listener.close()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(SHUTDOWN_S)
        self._listeners.clear()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._respond(request)
        if isinstance(response, web.Response):
            return await self._write(request, response)
        return response

    async def _write(self, request: web.BaseRequest, response: web.Response) -> web.Response:
        """Write a reply, which counts until its client has taken it; who does not is cut off."""
        size = len(response.body) if isinstance(response.body, bytes) else 0
        if not self._unread.move(0, size):
            response = self._plain(request, 503, b"this node is busy, try again\n")
            size = 0
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._unread.move(size, 0)
        return response

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        method = request.method
        if method == "POST":
            return await self._post(request)
        if method == "OPTIONS":
            return web.Response(status=204, headers=self._preflight_headers(request))
        if method == "GET":
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._serve_websocket(request)
            page = self._pages.get(request.path)
            if page is not None:
                content_type, text = page()
                return web.Response(body=text, headers={"Content-Type": content_type})
            return self._plain(request, 200, GREETING)
        return self._plain(request, 405, b"use POST\n")

    # HTTP.

    async def _post(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.content_type not in JSON_TYPES:
            # Also what keeps a web page from posting without a preflight.
            return self._plain(request, 415, b"the content type must be application/json\n")
        length = request.content_length
        if length is not None and length > BODY_BYTES_MAX:
            return self._too_large(request)
        reserved = BODY_BYTES_MAX if length is None else length
        if reserved <= BODY_BYTES_SMALL:
            reserved = 0
        if reserved and self._bodies_bytes + reserved > BODIES_BYTES_MAX:
            return self._plain(request, 503, b"this node is busy, try again\n")
        self._bodies_bytes += reserved
        try:
            body = await self._read_body(request)
        except TimeoutError:
            return self._plain(request, 408, b"the request's body did not come in time\n")
        except HttpProcessingError as error:
            return self._plain(request, 400, f"{error.message}\n".encode())
        finally:
            self._bodies_bytes -= reserved
        if body is None:
            return self._too_large(request)
        reply = await self._dispatcher.answer(body, self._http_context)
        if reply is None:
            return web.Response(status=204, headers=self._cors_headers(request))
        return self._json(request, reply)

    async def _read_body(self, request: web.BaseRequest) -> bytes | None:
        """The body, within READ_TIMEOUT_S; None where it is longer than BODY_BYTES_MAX."""
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.content.is_eof() and not request.content.total_bytes:
            return b""
        async with asyncio.timeout(READ_TIMEOUT_S):
            parts: list[bytes] = []
            size = 0
            while part := await request.content.readany():
                size += len(part)
                if size > BODY_BYTES_MAX:
                    return None
                parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _json(self, request: web.BaseRequest, body: bytes, status: int = 200) -> web.Response:
        headers = self._cors_headers(request)
        headers["Content-Type"] = "application/json"
        return web.Response(status=status, body=body, headers=headers)

    def _plain(self, request: web.BaseRequest, status: int, text: bytes) -> web.Response:
        headers = self._cors_headers(request)
        headers["Content-Type"] = "text/plain; charset=utf-8"
        response = web.Response(status=status, body=text, headers=headers)
        if status in (408, 413, 503):
            response.force_close()  # the rest of the body is not read
        return response

    def _too_large(self, request: web.BaseRequest) -> web.Response:
        error = RpcError(INVALID_REQUEST, f"request body is longer than {BODY_BYTES_MAX} bytes")
        response = self._json(request, encode_error(None, error), 413)
        response.force_close()
        return response

    # CORS.

    def _cors_headers(self, request: web.BaseRequest) -> dict[str, str]:
        """What lets a web page read the answer; nothing for a caller that is no web page."""
        origin = request.headers.get("Origin")
        if origin is None:
            return {}
        if "*" in self._origins:
            return {"Access-Control-Allow-Origin": "*"}
        if origin in self._origins:
            return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return {}

    def _preflight_headers(self, request: web.BaseRequest) -> dict[str, str]:
        headers = self._cors_headers(request)
        if headers:
            asked = request.headers.get("Access-Control-Request-Headers", "Content-Type")
            headers["Access-Control-Allow-Methods"] = "POST, GET, OPTIONS"
            headers["Access-Control-Allow-Headers"] = asked
            headers["Access-Control-Max-Age"] = "600"
            if request.headers.get("Access-Control-Request-Private-Network") == "true":
                headers["Access-Control-Allow-Private-Network"] = "true"
        return headers

    # WebSocket.

    async def _serve_websocket(self, request: web.BaseRequest) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and "*" not in self._origins and origin not in self._origins:
            return self._plain(request, 403, b"this origin may not call this node\n")
        socket = web.WebSocketResponse(
            max_msg_size=BODY_BYTES_MAX, heartbeat=HEARTBEAT_S, compress=False, timeout=1.0
        )
        await socket.prepare(request)
        session = Session(self._unread)
        context = self._make_context(session)
        writer = asyncio.create_task(self._write_messages(request, socket, session))
        try:
            async for message in socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                reply = await self._dispatcher.answer(message.data, context)
                if reply is not None:
                    session.send(reply)
        finally:
            session.close()
            writer.cancel()
            await socket.close()
        return socket

    @staticmethod
    async def _write_messages(
        request: web.BaseRequest, socket: web.WebSocketResponse, session: Session
    ) -> None:
        try:
            while (message := await session.next_message()) is not None:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await socket.send_str(message.decode())
                session.written()
        except ConnectionError:
            return  # the reader sees the same end
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            return
        await socket.close(code=1013, message=b"reads slower than events come")
