"""What goes wrong in a JSON-RPC call, with the codes and texts that a geth user knows.

Belongs here: error codes and how an error of the ledger becomes one. Not here: how a reply is
written (`codec`), what a method checks (`parameters`). Sources: JSON-RPC 2.0 section 5.1; EIP-1474;
the error codes of go-ethereum's rpc and internal/ethapi packages.
"""

from ledger.encoding import abi
from ledger.errors import (
    DiskFull,
    EncodingError,
    InvalidTransaction,
    LedgerError,
)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
RESPONSE_TOO_LARGE = -32003
LIMIT_EXCEEDED = -32005
EXECUTION_REVERTED = 3

_ERROR_STRING = abi.selector("Error(string)")
_PANIC = abi.selector("Panic(uint256)")

PANIC_REASONS = {
    0x01: "assert failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division or modulo by zero",
    0x21: "a value that is not of its enumeration",
    0x31: "pop of an empty array",
    0x32: "index out of bounds",
    0x41: "too large an allocation",
}
"""Solidity's panic codes (docs.soliditylang.org, Control Structures, Panic)."""


class RpcError(Exception):
    """What a caller is told: `code`, the text and, for a revert, `data` in hex."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_json(self) -> dict[str, object]:
        """The error object of a reply; `message` is always there, `data` where there is some."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


def invalid_params(message: str) -> RpcError:
    return RpcError(INVALID_PARAMS, message)


def explain_ledger_error(error: LedgerError) -> RpcError:
    """The JSON-RPC error of an error of the ledger; its text is safe to show."""
    if isinstance(error, InvalidTransaction):
        return RpcError(error.code, str(error))
    if isinstance(error, DiskFull):
        return RpcError(SERVER_ERROR, f"this node's disk is full: {error}")
    if isinstance(error, EncodingError):
        return RpcError(SERVER_ERROR, f"rlp: {error}")
    return RpcError(SERVER_ERROR, str(error))


def explain_revert(output: bytes) -> RpcError:
    """Code 3 with the ABI data in hex, and the reason in words where the data holds one.

    ethers finds a revert only where the text has "reverted" and `data` is hex.
    """
    message = "execution reverted"
    reason = decode_reason(output)
    if reason:
        message += f": {reason}"
    return RpcError(EXECUTION_REVERTED, message, "0x" + output.hex())


def decode_reason(output: bytes) -> str | None:
    """The text of an Error(string) or the meaning of a Panic(uint256); None for anything else."""
    try:
        if output[:4] == _ERROR_STRING:
            return str(abi.decode(["string"], output[4:])[0])
        if output[:4] == _PANIC:
            code = abi.decode(["uint256"], output[4:])[0]
            return f"{PANIC_REASONS.get(code, 'unknown panic')} (0x{code:02x})"
    except EncodingError:
        return None  # a contract may return any bytes; what is no reason is shown as data only
    return None
