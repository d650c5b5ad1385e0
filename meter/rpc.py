"""JSON-RPC to any of several nodes: one call or a batch, failures told apart, back-off with jitter.

Not here: what is asked (`meter.submit`). A node is trusted for nothing but its answer to which
chain it serves, and that is asked in the same batch as whatever depends on it.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from meter.errors import CallRefused, NodeUnreachable

TIMEOUT_S = 15  # a Pi under load answers in seconds
REPLY_BYTES_MAX = 4_000_000  # a batch of receipts of 100 periods each is far below
BACKOFF_S = 1.0  # after the first failure of a node
BACKOFF_S_MAX = 60.0  # after many: a meter is back within a minute of its node

Call = tuple[str, list[Any]]


class Node:
    """One URL."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def call(self, method: str, *params: Any) -> Any:
        """The result. Raises CallRefused for an error object, NodeUnreachable for all else."""
        result = (await self.batch([(method, list(params))]))[0]
        if isinstance(result, CallRefused):
            raise result
        return result

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results in the order of the calls; a refused one stands as CallRefused in its place."""
        body = [
            {"jsonrpc": "2.0", "id": index, "method": method, "params": params}
            for index, (method, params) in enumerate(calls)
        ]
        replies = await self._post(body)
        if isinstance(replies, dict):
            replies = [{**replies, "id": 0}] if len(calls) == 1 else [replies]
        if not isinstance(replies, list):
            raise NodeUnreachable(self.url, "does not answer with JSON-RPC; is it a node?")
        by_id = {one.get("id"): one for one in replies if isinstance(one, dict)}
        return [self._result(by_id.get(index), call[0]) for index, call in enumerate(calls)]

    async def _post(self, body: Any) -> Any:
        try:
            async with self._session.post(
                self.url,
                data=json.dumps(body, separators=(",", ":")).encode(),
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as response:
                reply = bytearray()
                async for chunk in response.content.iter_chunked(65_536):
                    reply += chunk
                    if len(reply) > REPLY_BYTES_MAX:
                        raise NodeUnreachable(self.url, f"answers over {REPLY_BYTES_MAX} bytes")
        except TimeoutError as error:
            raise NodeUnreachable(self.url, f"no answer within {TIMEOUT_S} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NodeUnreachable(self.url, str(error) or type(error).__name__) from error
        try:
            return json.loads(reply)
        except ValueError as error:
            raise NodeUnreachable(
                self.url, f"does not answer with JSON (HTTP {response.status}); is it a node?"
            ) from error

    def _result(self, reply: Any, method: str) -> Any:
        if reply is None:
            raise NodeUnreachable(self.url, f"left out the answer to {method}")
        error = reply.get("error")
        if error is None:
            return reply.get("result")
        if not isinstance(error, dict):
            raise NodeUnreachable(self.url, f"answers {method} with a malformed error")
        code, text, data = error.get("code"), error.get("message"), error.get("data")
        return CallRefused(
            self.url,
            method,
            code if isinstance(code, int) else 0,
            str(text)[:300],
            _decode_hex(data),
        )


def _decode_hex(data: Any) -> bytes:
    """Revert data; b"" where there is none or it is no hex."""
    if not isinstance(data, str) or not data.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(data[2:])
    except ValueError:
        return b""


@dataclass(slots=True)
class _Health:
    failures: int = 0
    not_before_s: float = 0.0


class Nodes:
    """Several nodes in order of preference; whoever fails rests for a while, longer each time."""

    def __init__(
        self,
        nodes: Sequence[Node],
        monotonic_s: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._nodes = list(nodes)
        self._health = {node.url: _Health() for node in nodes}
        self._current = 0
        self._monotonic_s = monotonic_s
        self._uniform = uniform

    async def pick(self) -> Node:
        """The current node, or the next that does not rest; waits while all of them do."""
        while True:
            now_s = self._monotonic_s()
            for offset in range(len(self._nodes)):
                index = (self._current + offset) % len(self._nodes)
                if self._health[self._nodes[index].url].not_before_s <= now_s:
                    self._current = index
                    return self._nodes[index]
            first_s = min(health.not_before_s for health in self._health.values())
            await asyncio.sleep(first_s - now_s)

    def failed(self, node: Node) -> None:
        """Rest this node and go to the next. Jitter keeps a street of meters apart."""
        health = self._health[node.url]
        limit_s = min(BACKOFF_S_MAX, BACKOFF_S * 2 ** min(health.failures, 10))
        health.failures += 1
        health.not_before_s = self._monotonic_s() + self._uniform(limit_s / 2, limit_s)
        self.rotate()

    def worked(self, node: Node) -> None:
        self._health[node.url] = _Health()

    def rotate(self) -> None:
        """Go to the next node without blaming this one."""
        self._current = (self._current + 1) % len(self._nodes)
