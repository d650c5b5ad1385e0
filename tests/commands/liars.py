"""A node that lies: a relay in front of an honest one that changes some of its answers."""

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Ask = Callable[..., Any]
Lie = Callable[[str, list[Any], Any, Ask], Any]
"""(method, parameters, honest result, a way to ask the honest node) -> what is answered instead."""


def ask_at(url: str) -> Ask:
    """A way to ask a node."""

    def ask(method: str, *params: Any) -> Any:
        reply = post(url, {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        return reply["result"]

    return ask


def post(url: str, body: Any) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


@contextmanager
def run_liar(honest: str, lie: Lie) -> Iterator[str]:
    """The URL of a node that answers as the honest one does, but for the lie."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(size))
            reply = post(honest, body)
            calls = body if isinstance(body, list) else [body]
            replies = reply if isinstance(reply, list) else [reply]
            by_id = {one["id"]: one for one in replies}
            for call in calls:
                one = by_id[call["id"]]
                if "result" in one:
                    one["result"] = lie(
                        call["method"], call["params"], one["result"], ask_at(honest)
                    )
            raw = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
