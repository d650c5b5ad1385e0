"""Three budgets of the contract runtime, each beside plain Python in the same run.

A call of setDebt (decoding, running, journal, events; no trie); integer loops as they run when
charges are woven in; what it takes to check and compile a contract. And what gas cannot avoid: the
time of calls that end for want of it.
"""

import ast
import random
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.gas import BLOCK, NothingStored
from benchmarks.workload import encode_call
from ledger.contract.artifact import encode_payload
from ledger.contract.compile import compile_contract
from ledger.contract.execution import Message, execute_call, execute_creation
from ledger.crypto.keccak import keccak256
from ledger.encoding import abi
from ledger.genesis import GAS_LIMIT
from ledger.state.state import State
from ledger.trie.trie import EMPTY_ROOT

CALLS = 1_000
REPEATS = 9
OWNER, CONTRACT = keccak256(b"owner")[12:], keccak256(b"contract")[12:]
GAS = 1 << 40
TURNS = 20_000
LINES = 300
LOOPS = {
    "sum": "a = 0|for i in range(n):|    a = (a + i * 31) % 1000003|return a",
    "while": "a = n|k = 0|while k < n:|    a = a ^ k|    k += 1|return a",
    "branches": "a = 0|for i in range(n):|    if i % 3 == 0:|        a += i"
    "|    elif i % 3 == 1 and a > 5:|        a -= 1|    else:|        a += 2|return a",
    "nested": "a = 0|for i in range(n // 20):|    for k in range(20):|        a += i & k|return a",
    "256 bits": "a = n + 2**200|for i in range(n):|    a = (a * 3 + i) % (2**255 - 19)|return a",
}
SPENDERS = {
    "a loop": "while True:|    pass",
    "new words": "k = 0|while True:|    self.values[k] = k + 1|    k += 1",
    "events": "k = 0|while True:|    self.emit(Seen(k))|    k += 1",
}


def least(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Seconds of CPU, the least of several."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        found.append(time.process_time() - began)
    return min(found)


def read_standard(name: str) -> bytes:
    return resources.files("contracts_py").joinpath(f"{name}.py").read_bytes()


def make_message(to: bytes, data: bytes, gas: int = GAS) -> Message:
    return Message(OWNER, to, 0, data, gas, False, OWNER, 0)


def deploy(source: bytes, arguments: bytes = b"") -> State:
    state = State(NothingStored(), EMPTY_ROOT)
    message = make_message(CONTRACT, encode_payload(source, arguments))
    outcome = execute_creation(state, BLOCK, message)
    assert outcome.status == "success", outcome
    return state


class PlainProvider:
    """setDebt as one would write it where nobody else's code runs."""

    def __init__(self, owner: bytes) -> None:
        self.owner = owner
        self.accounts: dict[bytes, tuple[int, int, bool]] = {}
        self.events: list[tuple[str, int, int, bytes]] = []

    def set_debt(self, sender: bytes, usage: int, bill: int, user: bytes) -> None:
        account = self.accounts.get(user, (0, 0, True))
        if sender != self.owner and (sender != user or not account[2]):
            raise PermissionError(sender)
        self.accounts[user] = (usage, bill, True)
        self.events.append(("DebtSet", usage, bill, user))


def measure_set_debt() -> dict[str, float]:
    state = deploy(read_standard("el_dapp"), abi.encode(["string", "string"], ["Grid", "Street"]))
    users = [keccak256(bytes([index]))[12:] for index in range(200)]
    for user in users:
        execute_call(state, BLOCK, make_message(CONTRACT, encode_call("addUser(address)", user)))
    signature = "setDebt(uint256,uint256,address)"
    messages = [
        make_message(CONTRACT, encode_call(signature, 1_000 + index, index, users[index % 200]))
        for index in range(CALLS)
    ]
    assert execute_call(state, BLOCK, messages[0]).status == "success"
    seconds = least(lambda: [execute_call(state, BLOCK, each) for each in messages])
    plain = PlainProvider(OWNER)
    plain_seconds = least(
        lambda: [plain.set_debt(OWNER, 1_000, each, users[each % 200]) for each in range(CALLS)]
    )
    return {
        "us": round(seconds / CALLS * 1e6, 1),
        "plain_us": round(plain_seconds / CALLS * 1e6, 2),
        "factor": round(seconds / plain_seconds),
    }


def indent(text: str, spaces: int) -> str:
    return "".join(f"{' ' * spaces}{line}\n" for line in text.split("|"))


def measure_loop(body: str) -> float:
    """Times plain CPython: the same lines with and without charges."""
    source = (
        "from ledger.contract import Contract, uint256, view\nclass Loop(Contract):\n    @view\n"
        f"    def run(self, n: uint256) -> uint256:\n{indent(body, 8)}"
    )
    state = deploy(source.encode())
    message = make_message(CONTRACT, encode_call("run(uint256)", TURNS))
    scope: dict[str, Any] = {}
    exec(f"def run(n):\n{indent(body, 4)}", scope)
    expected = scope["run"](TURNS)
    assert int.from_bytes(execute_call(state, BLOCK, message).output, "big") == expected
    ours, plain = [], []
    for _ in range(5):  # side by side, so that both meet the same machine
        ours.append(least(lambda: execute_call(state, BLOCK, message), 3))
        plain.append(least(lambda: scope["run"](TURNS), 3))
    return round(min(ours) / min(plain), 2)


def measure_compile() -> dict[str, Any]:
    """Milliseconds for 300 lines of each standard contract; the budget is for the slowest."""
    found = {}
    for path in sorted(Path(str(resources.files("contracts_py"))).glob("*.py")):
        source = path.read_bytes()
        if b"class " not in source:
            continue
        ours = least(lambda source=source: compile_contract(source), 5)
        plain = least(lambda source=source: compile(ast.parse(source), "plain", "exec"), 5)
        lines = source.count(b"\n")
        found[path.stem] = {
            "lines": lines,
            "ms": round(ours * 1e3, 1),
            "ms_for_300_lines": round(ours * 1e3 * LINES / lines, 1),
            "factor": round(ours / plain, 1),
        }
    slowest = max(found.values(), key=lambda one: one["ms_for_300_lines"])
    return {"slowest": slowest, "contracts": found}


def measure_out_of_gas(body: str, gas: int = GAS_LIMIT) -> float:
    """ns per gas of a call that runs until its gas is gone, and of undoing it."""
    source = (
        "from ledger.contract import Contract, Event, Map, uint256, write\nclass Seen(Event):\n"
        "    what: uint256\nclass Spender(Contract):\n    values: Map[uint256, uint256]\n"
        f"    @write\n    def run(self) -> None:\n{indent(body, 8)}"
    )
    state = deploy(source.encode())
    message = make_message(CONTRACT, encode_run(), gas)

    def call() -> None:
        snapshot = state.snapshot()
        assert execute_call(state, BLOCK, message).status == "out_of_gas"
        state.revert(snapshot)

    return round(least(call, 3) * 1e9 / gas, 2)


def encode_run() -> bytes:
    return abi.selector("run()")


def measure_garbage(count: int = 200) -> float:
    """Microseconds to refuse call data that no client would send."""
    state = deploy(read_standard("el_dapp"), abi.encode(["string", "string"], ["Grid", "Street"]))
    pick = random.Random(1)
    known = abi.selector("setDebt(uint256,uint256,address)")
    messages = [make_message(CONTRACT, known + pick.randbytes(96)) for _ in range(count)]
    seconds = least(lambda: [execute_call(state, BLOCK, each) for each in messages])
    return round(seconds / count * 1e6, 1)


def run() -> dict[str, Any]:
    loops = {name: measure_loop(body) for name, body in LOOPS.items()}
    return {
        "set_debt": measure_set_debt(),
        "loops_factor": loops,
        "loops_factor_max": max(loops.values()),
        "compile": measure_compile(),
        "out_of_gas_ns_per_gas": {
            name: measure_out_of_gas(body) for name, body in SPENDERS.items()
        },
        "refused_call_data_us": measure_garbage(),
    }
