"""JSON-RPC 2.0 on the wire: bytes to calls and results to bytes.

Belongs here: the shape of requests and replies, and their limits. Not here: what a method means
(`methods`), sockets (`server`). Replies have no space after a colon (the parser of Web3E on an
ESP32 finds an empty value there) and the caller's id, of whatever kind, comes back as it was.
Source: jsonrpc.org/specification.
"""

from dataclasses import dataclass
from typing import TypeAlias

import orjson

from node.rpc.errors import INVALID_REQUEST, PARSE_ERROR, RpcError

BATCH_CALLS_MAX = 1_000
"""Of one batch; geth's bound. ethers sends up to 100."""
BODY_BYTES_MAX = 5 * 1024 * 1024
"""Of one request; geth's bound. A batch of 100 transactions has some 50 kB."""
REPLY_BYTES_MAX = 25 * 1024 * 1024
"""Of one reply, batch or not; geth's bound."""

JsonValue: TypeAlias = object
"""What orjson reads and writes: None, bool, int, float, str, list, dict, Fragment."""

_HEAD = b'{"jsonrpc":"2.0","id":'
_RESULT = b',"result":'
_ERROR = b',"error":'
_END = b"}"


@dataclass(slots=True)
class Call:
    """One request. `wants_reply` is False for a notification."""

    method: str
    params: list[JsonValue]
    id: JsonValue
    wants_reply: bool


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request that is none; it is answered with `error` under the id that could be read."""

    id: JsonValue
    error: RpcError


def decode_body(body: bytes | str) -> JsonValue:
    """The JSON of a request body. Raises RpcError (-32700); nesting is bounded by orjson."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RpcError(PARSE_ERROR, f"parse error: {error}") from error


def read_call(item: JsonValue) -> Call | Malformed:
    """One request object, checked field by field."""
    if not isinstance(item, dict):
        return _malformed(None, "a request is an object with jsonrpc, id, method and params")
    call_id = item.get("id")
    if call_id is not None and (
        isinstance(call_id, bool) or not isinstance(call_id, str | int | float)
    ):
        return _malformed(None, "id must be a string, a number or null")
    method = item.get("method")
    if not isinstance(method, str):
        return _malformed(call_id, "method must be a string")
    if item.get("jsonrpc") != "2.0":
        return _malformed(call_id, 'jsonrpc must be "2.0"')
    params = item.get("params")
    if params is None:
        params = []
    elif not isinstance(params, list):
        return _malformed(call_id, "params must be an array: parameters are given by position")
    return Call(method, params, call_id, "id" in item)


def encode_result(call_id: JsonValue, result: JsonValue) -> bytes:
    """A reply, compact."""
    return b"".join((_HEAD, orjson.dumps(call_id), _RESULT, orjson.dumps(result), _END))


def encode_error(call_id: JsonValue, error: RpcError) -> bytes:
    """An error reply, compact."""
    return b"".join((_HEAD, orjson.dumps(call_id), _ERROR, orjson.dumps(error.to_json()), _END))


def encode_batch(replies: list[bytes]) -> bytes:
    """The array of replies already written."""
    return b"[" + b",".join(replies) + b"]"


def encode_notification(subscription: str, result: JsonValue) -> bytes:
    """What a subscriber over WebSocket is sent."""
    return orjson.dumps(
        {
            "jsonrpc": "2.0",
            "method": "eth_subscription",
            "params": {"subscription": subscription, "result": result},
        }
    )


def _malformed(call_id: JsonValue, message: str) -> Malformed:
    return Malformed(call_id, RpcError(INVALID_REQUEST, f"invalid request: {message}"))
