"""A JSON-RPC client for the command line: one connection, calls and batches, clear errors.

Not here: the server (`node.rpc`), what results mean. Any node's URL will do, ours or not.
"""

import http.client
import json
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from ledger.encoding.hexadecimal import decode_data, decode_quantity, encode_data, encode_quantity

TIMEOUT_S = 30.0  # above a Pi's slowest answer, an eth_getLogs over 5,000 blocks
BATCH_MAX = 200  # calls in one request; a node takes 1,000
REPLY_BYTES_MAX = 25_000_000  # what a node sends at most
SLOW_S = 3.0  # a block takes a second; who waits longer wants to know for what


class ClientError(Exception):
    """The node could not be reached, or refused; the text says which and what to do."""


class RpcError(ClientError):
    """An error object from the node. `data` is the revert data where there is some."""

    def __init__(self, method: str, code: int, message: str, data: bytes | None) -> None:
        super().__init__(f"{method}: {message}")
        self.code = code
        self.data = data


class Client:
    """Calls one node. `url` is http://host:port or https://host:port."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError(f"{url!r} is no URL of a node: expected http://HOST:PORT")
        self.url = url
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._path = parts.path or "/"
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)

    def call(self, method: str, *params: Any) -> Any:
        """One call's result. Raises RpcError or ClientError."""
        return self._result(method, self._post(self._request(1, method, params)))

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Results in the order of the calls; the first error among them is raised."""
        results: list[Any] = []
        for start in range(0, len(calls), BATCH_MAX):
            part = calls[start : start + BATCH_MAX]
            replies = self._post(
                [
                    self._request(index, method, params)
                    for index, (method, params) in enumerate(part)
                ]
            )
            if not isinstance(replies, list):
                self._result(part[0][0], replies)
                raise ClientError(f"{self.url} does not answer batches")
            by_id = {reply.get("id"): reply for reply in replies}
            for index, (method, _) in enumerate(part):
                if index not in by_id:
                    raise ClientError(f"{self.url} left out the answer to {method}")
                results.append(self._result(method, by_id[index]))
        return results

    def close(self) -> None:
        self._connection.close()

    # What several commands ask.

    def chain_id(self) -> int:
        return decode_quantity(self.call("eth_chainId"))

    def height(self) -> int:
        return decode_quantity(self.call("eth_blockNumber"))

    def next_nonce(self, address: bytes) -> int:
        return decode_quantity(
            self.call("eth_getTransactionCount", encode_data(address), "pending")
        )

    def call_contract(self, to: bytes, data: bytes, block: int | str = "latest") -> bytes:
        """eth_call: the return data. Raises RpcError with the revert data."""
        tag = encode_quantity(block) if isinstance(block, int) else block
        result = self.call("eth_call", {"to": encode_data(to), "data": encode_data(data)}, tag)
        return decode_data(result)

    def wait_for_receipt(
        self,
        transaction_hash: str,
        timeout_s: float = 60.0,
        on_slow: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """The receipt, once the transaction is in a final block; `on_slow` where that takes long.

        Raises ClientError after `timeout_s`.
        """
        began = time.monotonic()
        while (waited := time.monotonic() - began) < timeout_s:
            receipt = self.call("eth_getTransactionReceipt", transaction_hash)
            if receipt is not None:
                return dict(receipt)
            if on_slow is not None and waited > SLOW_S:
                on_slow()
                on_slow = None
            time.sleep(0.05)
        raise ClientError(
            f"{transaction_hash} is in no block after {timeout_s:.0f} s; "
            f"ask why with: wattledger node status --rpc {self.url}"
        )

    # Inside.

    @staticmethod
    def _request(number: int, method: str, params: Sequence[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}

    def _post(self, body: Any) -> Any:
        raw = json.dumps(body, separators=(",", ":")).encode()
        for attempt in (1, 2):
            try:
                self._connection.request(
                    "POST", self._path, raw, {"Content-Type": "application/json"}
                )
                reply = self._connection.getresponse().read(REPLY_BYTES_MAX)
                break
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                # A kept connection that the node closed meanwhile is opened once more.
                self._connection.close()
                if attempt == 2:
                    raise ClientError(f"{self.url} closed the connection: {error}") from error
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise ClientError(
                    f"no node answers at {self.url} ({error}); is it running, is the port right?"
                ) from error
        try:
            return json.loads(reply)
        except ValueError as error:
            raise ClientError(f"{self.url} did not answer with JSON; is it a node?") from error

    def _result(self, method: str, reply: Any) -> Any:
        if not isinstance(reply, dict):
            raise ClientError(f"{self.url} did not answer with JSON-RPC")
        error = reply.get("error")
        if error is not None:
            data = error.get("data")
            revert = decode_data(data) if isinstance(data, str) and data.startswith("0x") else None
            raise RpcError(method, error.get("code", 0), str(error.get("message", "")), revert)
        return reply.get("result")
