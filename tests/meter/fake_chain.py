"""A chain with one Metering contract in memory, served as JSON-RPC by any number of fake nodes.

Transactions and call data are decoded by Ethereum's own packages, not by ours. The chain counts
what a meter must never cause: a transaction without effect, a period recorded twice.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import rlp
from aiohttp import web
from eth_abi import decode, encode
from eth_account import Account
from eth_utils import keccak

CHAIN_ID = 1947
CONTRACT = "0x" + "c0" * 20
PERIOD_SECONDS = 3_600


def selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


RECORD = selector("record(uint32,uint64,uint64,uint8)")
RECORD_MANY = selector("recordMany(uint32,uint64[],uint64[],uint8[])")
NOTE_REGISTER = selector("noteRegister(uint8,uint32,uint64,uint64)")
READING = selector("reading(address,uint32)")
PERIOD = selector("periodSeconds()")


class RpcError(Exception):
    def __init__(self, code: int, text: str, data: str | None = None) -> None:
        super().__init__(text)
        self.error: dict[str, Any] = {"code": code, "message": text}
        if data is not None:
            self.error["data"] = data


@dataclass
class Chain:
    """One block per transaction. `hold` keeps transactions in the pool."""

    genesis: str = "0x" + "11" * 32
    chain_id: int = CHAIN_ID
    base_fee: int = 0
    hold: bool = False
    enrolled: bool = True
    notes_registers: bool = True
    gas_per_period: int = 50_000
    records: dict[tuple[str, int], tuple[int, int, int]] = field(default_factory=dict)
    changes: list[tuple[int, int, int, int]] = field(default_factory=list)
    corrections: dict[tuple[str, int], tuple[int, int, int]] = field(default_factory=dict)
    nonces: dict[str, int] = field(default_factory=dict)
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    pool: dict[str, bytes] = field(default_factory=dict)
    height: int = 0
    reverted: int = 0
    batches: list[int] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    included: list[tuple[int, bytes]] = field(default_factory=list)
    history: list[tuple[int, dict[str, int], dict[tuple[str, int], Any]]] = field(
        default_factory=list
    )

    def parse(self, data: bytes) -> list[tuple[int, int, int, int]]:
        if data[:4] == NOTE_REGISTER:
            if not self.notes_registers:
                raise RpcError(3, "execution reverted")
            return []
        if data[:4] == RECORD:
            return [decode(["uint32", "uint64", "uint64", "uint8"], data[4:])]
        assert data[:4] == RECORD_MANY, data[:4]
        first, *columns = decode(["uint32", "uint64[]", "uint64[]", "uint8[]"], data[4:])
        assert len({len(column) for column in columns}) == 1
        return [(first + i, *row) for i, row in enumerate(zip(*columns, strict=True))]

    def check(self, sender: str, rows: list[tuple[int, int, int, int]]) -> None:
        if not self.enrolled:
            data = selector("NotEnrolled(address)") + encode(["address"], [sender])
            raise RpcError(3, "execution reverted: NotEnrolled", "0x" + data.hex())
        for period, *_ in rows:
            if (sender, period) in self.records:
                data = selector("AlreadyRecorded(address,uint32)")
                data += encode(["address", "uint32"], [sender, period])
                raise RpcError(3, "execution reverted: AlreadyRecorded", "0x" + data.hex())

    def send(self, raw: bytes) -> str:
        fields = rlp.decode(raw)
        sender = Account.recover_transaction(raw).lower()
        nonce, price = int.from_bytes(fields[0]), int.from_bytes(fields[1])
        assert int.from_bytes(fields[6]) in (self.chain_id * 2 + 35, self.chain_id * 2 + 36)
        self.sent.append(raw)
        key = "0x" + keccak(raw).hex()
        if nonce < self.nonces.get(sender, 0):
            raise RpcError(-32000, f"nonce too low: address {sender}, tx: {nonce} state: ...")
        if key in self.pool:
            raise RpcError(-32000, "already known")
        if price < self.base_fee:
            raise RpcError(-32000, "max fee per gas less than block base fee: ...")
        self.pool[key] = raw
        if not self.hold:
            self.mine()
        return key

    def mine(self) -> None:
        while True:
            for key, raw in list(self.pool.items()):
                fields = rlp.decode(raw)
                sender = Account.recover_transaction(raw).lower()
                if int.from_bytes(fields[0]) == self.nonces.get(sender, 0):
                    del self.pool[key]
                    self.include(key, raw, sender, fields)
                    break
            else:
                return

    def grow(self, blocks: int = 1) -> None:
        """Empty blocks on top."""
        self.height += blocks

    def reorganise(self, depth: int) -> None:
        """Other blocks in the place of the last `depth`, and one more; what stood there waits."""
        height = self.height - depth
        nonces, records = self.at(hex(height))
        self.nonces, self.records = dict(nonces), dict(records)
        for at, raw in [one for one in self.included if one[0] > height]:
            self.included.remove((at, raw))
            key = "0x" + keccak(raw).hex()
            del self.receipts[key]
            self.pool[key] = raw
        self.history = [one for one in self.history if one[0] <= height]
        self.height += 1

    def at(self, tag: str) -> tuple[dict[str, int], dict[tuple[str, int], Any]]:
        """Nonces and records after a block."""
        if tag in ("latest", "pending"):
            return self.nonces, self.records
        past = [one for one in self.history if one[0] <= int(tag, 16)]
        return (past[-1][1], past[-1][2]) if past else ({}, {})

    def include(self, key: str, raw: bytes, sender: str, fields: list[bytes]) -> None:
        assert fields[3] == bytes.fromhex(CONTRACT[2:])
        self.nonces[sender] = self.nonces.get(sender, 0) + 1
        self.height += 1
        rows = self.parse(fields[5])
        gas_ok = int.from_bytes(fields[2]) >= 21_000 + self.gas_per_period * len(rows)
        try:
            self.check(sender, rows)
        except RpcError:
            gas_ok = False
        if gas_ok:
            self.records.update({(sender, row[0]): row[1:] for row in rows})
            if rows:
                self.batches.append(len(rows))
            else:
                types = ["uint8", "uint32", "uint64", "uint64"]
                self.changes.append(decode(types, fields[5][4:]))
        else:
            self.reverted += 1
        self.receipts[key] = {
            "transactionHash": key,
            "blockNumber": hex(self.height),
            "status": hex(int(gas_ok)),
        }
        self.included.append((self.height, raw))
        self.history.append((self.height, dict(self.nonces), dict(self.records)))


class Node:
    """One way to the chain. Faults are attributes that a test sets while it runs."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.down = False
        self.swallow_replies = 0  # so many sends are taken, and their answer lost
        self.lag = 0  # blocks behind, as a node that is catching up
        self.calls: dict[str, int] = {}
        self.refuse_send: RpcError | None = None
        self.receipts_hidden = False
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, port: int = 0) -> "Node":
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.down:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        single = isinstance(body, dict)
        replies = []
        for call in [body] if single else body:
            method = call["method"]
            self.calls[method] = self.calls.get(method, 0) + 1
            reply: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
            try:
                reply["result"] = self._answer(method, call["params"])
            except RpcError as error:
                reply["error"] = error.error
            replies.append(reply)
            if method == "eth_sendRawTransaction" and self.swallow_replies:
                self.swallow_replies -= 1
                assert request.transport is not None
                request.transport.close()
                return web.Response()
        await asyncio.sleep(0)
        return web.json_response(replies[0] if single else replies)

    def _answer(self, method: str, params: list[Any]) -> Any:
        chain = self.chain
        head = max(0, chain.height - self.lag)
        if method == "eth_chainId":
            return hex(chain.chain_id)
        if method == "eth_blockNumber":
            return hex(head)
        if method == "eth_gasPrice":
            return hex(chain.base_fee)
        if method == "eth_getBlockByNumber":
            if params[0] == "0x0":
                return {"number": "0x0", "hash": chain.genesis, "gasLimit": hex(15_000_000)}
            return {"number": hex(head), "hash": "0x" + "22" * 32, "gasLimit": hex(15_000_000)}
        if method == "eth_getTransactionCount":
            sender = params[0].lower()
            waiting = sum(
                Account.recover_transaction(raw).lower() == sender for raw in chain.pool.values()
            )
            nonce = chain.at(params[1])[0].get(sender, 0) - self.lag
            return hex(max(0, nonce) + (waiting if params[1] == "pending" else 0))
        if method == "eth_getCode":
            return "0xef574c01"
        if method == "eth_getTransactionReceipt":
            return None if self.receipts_hidden else chain.receipts.get(params[0])
        if method == "eth_sendRawTransaction":
            if self.refuse_send is not None:
                raise self.refuse_send
            return chain.send(bytes.fromhex(params[0][2:]))
        if method == "eth_estimateGas":
            rows = chain.parse(bytes.fromhex(params[0]["data"][2:]))
            chain.check(params[0]["from"].lower(), rows)
            return hex(21_000 + chain.gas_per_period * len(rows))
        if method == "eth_call":
            return self._call(bytes.fromhex(params[0]["data"][2:]), params[1])
        raise RpcError(-32601, f"the method {method} does not exist")

    def _call(self, data: bytes, tag: str) -> str:
        if data[:4] == PERIOD:
            return "0x" + encode(["uint32"], [PERIOD_SECONDS]).hex()
        assert data[:4] == READING
        meter, period = decode(["address", "uint32"], data[4:])
        original = self.chain.at(tag)[1].get((meter, period))
        corrected = self.chain.corrections.get((meter, period))
        values = corrected or original or (0, 0, 0)
        types = ["uint64", "uint64", "uint8", "bool", "uint32"]
        words = encode(types, [*values, original is not None, int(corrected is not None)])
        return "0x" + words.hex()
