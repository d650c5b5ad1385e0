"""From a request body to a reply body: find each call's method, check its parameters, run it.

Belongs here: the table's shape, batches, limits of time and size, errors. Not here: what methods do
(the modules that fill the table), sockets (`server`).
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ledger.errors import LedgerError
from node.log import Log
from node.rpc.codec import (
    BATCH_CALLS_MAX,
    REPLY_BYTES_MAX,
    Call,
    JsonValue,
    Malformed,
    decode_body,
    encode_batch,
    encode_error,
    encode_result,
    read_call,
)
from node.rpc.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    RESPONSE_TOO_LARGE,
    RpcError,
    explain_ledger_error,
)
from node.rpc.parameters import Parameter, read_parameters

SLICE_S = 0.005
"""How long calls of one batch run before votes and blocks get their turn."""
HEAVY_WAITING_MAX = 64
"""Heavy calls (execution, log queries, proofs) that may wait for their turn; more are refused."""
OLD_WAITING_MAX = 512
"""Reads of whole old blocks that may wait: an explorer or a bill asks for many at once, and each is
short."""
HEAVY_PAUSE_S_MAX = 0.5
"""The longest rest after a heavy call. It rests as long as it ran, so that however many clients
loop over eth_call, half of the processor is left to consensus."""

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)
Bulk = Callable[[Any, list[list[object]]], Awaitable[Sequence[JsonValue | RpcError]]]


@dataclass(frozen=True, slots=True)
class Method:
    """An entry of the table: `function` takes a Context and the parsed parameters.

    `bulk`, where given, answers a run of calls of this method in one batch at once. `heavy` calls
    take turns and rest in between, and so do those for which `is_old`, called as `function` is,
    says that they read a whole block that is not at hand. Where too many wait, the answer is an
    error, or null with `null_if_busy`: who waits for a receipt asks again after null, and gives up
    after an error.
    """

    function: Handler
    parameters: tuple[Parameter, ...]
    heavy: bool = False
    bulk: Bulk | None = None
    is_async: bool = False
    is_old: Callable[..., bool] | None = None
    null_if_busy: bool = False


class MethodTable(dict[str, Method]):
    """Method name -> Method, filled by the decorator `method`."""

    def method(
        self,
        name: str,
        *parameters: Parameter,
        heavy: bool = False,
        bulk: Bulk | None = None,
        is_old: Callable[..., bool] | None = None,
        null_if_busy: bool = False,
    ) -> Callable[[F], F]:
        """Enter a function into the table under its JSON-RPC name."""

        def enter(function: F) -> F:
            assert name not in self, f"{name} is in the table twice"
            is_async = inspect.iscoroutinefunction(function)
            self[name] = Method(function, parameters, heavy, bulk, is_async, is_old, null_if_busy)
            return function

        return enter


class HeavyLane:
    """Lets heavy calls run one at a time; the next one starts after a rest as long as the last.

    Reads of old blocks stand in a line of their own: it and the other one take turns.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._lines = {False: asyncio.Lock(), True: asyncio.Lock()}
        self._waiting = {False: 0, True: 0}
        self._free_at = 0.0

    def is_full(self, old: bool) -> bool:
        return self._waiting[old] >= (OLD_WAITING_MAX if old else HEAVY_WAITING_MAX)

    async def run(self, handler: Callable[[], Any], *, old: bool = False) -> Any:
        """Run a handler in its turn. Raises RpcError where too many wait."""
        if self.is_full(old):
            raise RpcError(
                LIMIT_EXCEEDED, f"this node is busy: {self._waiting[old]} calls wait, try again"
            )
        self._waiting[old] += 1
        try:
            async with self._lines[old], self._lock:
                pause_s = self._free_at - time.perf_counter()
                if pause_s > 0:
                    await asyncio.sleep(pause_s)
                started = time.perf_counter()
                try:
                    result = handler()
                    return await result if inspect.isawaitable(result) else result
                finally:
                    now = time.perf_counter()
                    worked = now - started
                    self._free_at = now + min(worked, HEAVY_PAUSE_S_MAX) * (worked > SLICE_S)
        finally:
            self._waiting[old] -= 1


async def rest(started: float) -> float:
    """Inside a long heavy call: pause for as long as it worked since `started`, if that is long.

    Returns when work goes on.
    """
    worked = time.perf_counter() - started
    if worked <= SLICE_S:
        return started
    await asyncio.sleep(min(worked, HEAVY_PAUSE_S_MAX))
    return time.perf_counter()


class Dispatcher:
    """Answers bodies. `context` is handed to every method as its first argument."""

    def __init__(self, methods: Mapping[str, Method], log: Log) -> None:
        self._methods = methods
        self._log = log
        self._lane = HeavyLane()
        self.calls = 0

    async def answer(self, body: bytes | str, context: Any) -> bytes | None:
        """The reply to one request body; None where nothing but notifications came."""
        try:
            request = decode_body(body)
        except RpcError as error:
            return encode_error(None, error)
        if isinstance(request, list):
            return await self._answer_batch(request, context)
        call = read_call(request)
        if isinstance(call, Malformed):
            return encode_error(call.id, call.error)
        self.calls += 1
        return self._write(call, await self._run(call, context), REPLY_BYTES_MAX)

    async def _answer_batch(self, items: list[JsonValue], context: Any) -> bytes | None:
        if not items:
            return encode_error(None, RpcError(INVALID_REQUEST, "empty batch"))
        if len(items) > BATCH_CALLS_MAX:
            error = RpcError(
                INVALID_REQUEST,
                f"batch too large: {len(items)} calls, at most {BATCH_CALLS_MAX} are allowed",
            )
            ids = (item.get("id") for item in items if isinstance(item, dict))
            first = next((one for one in ids if isinstance(one, str | int | float)), None)
            return encode_batch([encode_error(first, error)])
        calls = [read_call(item) for item in items]
        self.calls += len(calls)
        replies: list[bytes] = []
        room = REPLY_BYTES_MAX
        index = 0
        slice_start = time.perf_counter()
        while index < len(calls):
            call = calls[index]
            if isinstance(call, Malformed):
                replies.append(encode_error(call.id, call.error))
                index += 1
                continue
            run = self._bulk_run(calls, index)
            if len(run) > 1:
                results = await self._run_bulk(run, context)
            else:
                run, results = [call], [await self._run(call, context)]
            for one, result in zip(run, results, strict=True):
                reply = self._write(one, result, room)
                if reply is not None:
                    replies.append(reply)
                    room = max(0, room - len(reply))
            index += len(run)
            if time.perf_counter() - slice_start > SLICE_S:
                await asyncio.sleep(0)
                slice_start = time.perf_counter()
        return encode_batch(replies) if replies else None

    def _bulk_run(self, calls: list[Call | Malformed], start: int) -> list[Call]:
        """The calls from `start` on that are of one method which answers many at once."""
        first = calls[start]
        assert isinstance(first, Call)
        method = self._methods.get(first.method)
        run: list[Call] = []
        if method is None or method.bulk is None:
            return run
        for index in range(start, len(calls)):
            call = calls[index]
            if isinstance(call, Malformed) or call.method != first.method:
                break
            run.append(call)
        return run

    async def _run_bulk(self, run: list[Call], context: Any) -> Sequence[JsonValue | RpcError]:
        method = self._methods[run[0].method]
        assert method.bulk is not None
        results: list[JsonValue | RpcError] = []
        values: list[list[object]] = []
        for call in run:
            try:
                values.append(read_parameters(method.parameters, call.params))
                results.append(None)
            except RpcError as error:
                results.append(error)
        try:
            answers = iter(await method.bulk(context, values))
        except Exception as error:  # answered and logged below: every exception is
            explained = self._explain(run[0].method, error)
            return [explained for _ in run]
        return [next(answers) if result is None else result for result in results]

    async def _run(self, call: Call, context: Any) -> Any:
        """A call's result, or the RpcError that its caller is told."""
        method = self._methods.get(call.method)
        if method is None:
            return RpcError(
                METHOD_NOT_FOUND, f"the method {call.method[:80]} does not exist/is not available"
            )
        try:
            values = read_parameters(method.parameters, call.params)
            old = method.is_old is not None and method.is_old(context, *values)
            if method.heavy or old:
                if method.null_if_busy and self._lane.is_full(old):
                    return None
                return await self._lane.run(lambda: method.function(context, *values), old=old)
            if method.is_async:
                return await method.function(context, *values)
            return method.function(context, *values)
        except Exception as error:  # answered and logged: every exception is
            return self._explain(call.method, error)

    def _explain(self, method: str, error: Exception) -> RpcError:
        if isinstance(error, RpcError):
            return error
        if isinstance(error, LedgerError):
            return explain_ledger_error(error)
        self._log.bug("rpc", error, method=method)
        return RpcError(INTERNAL_ERROR, "internal error: see the node's log")

    @staticmethod
    def _write(call: Call, result: JsonValue | RpcError, room: int) -> bytes | None:
        """The reply's bytes; None for a notification. `room` is what the whole may still take."""
        if not call.wants_reply:
            return None
        if isinstance(result, RpcError):
            return encode_error(call.id, result)
        reply = encode_result(call.id, result)
        if len(reply) > room:
            error = RpcError(
                RESPONSE_TOO_LARGE, f"response too large: at most {REPLY_BYTES_MAX} bytes"
            )
            return encode_error(call.id, error)
        return reply
