"""Contracts in a process of their own: the same results, and no way out of it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger.contract.execution import BlockContext, Message, execute_call, execute_creation
from ledger.contract.signals import NodeFault
from ledger.contract.testing import Chain, make_account
from ledger.encoding import abi
from ledger.errors import StoreError
from node.isolation import contract_process
from node.isolation.contract_process import ContractProcess
from tests.contract.sources import list_contracts
from tests.determinism.play import CONTRACT, Story, digest_outcome

ROOT = Path(__file__).parents[2]
MEMORY = 256 << 20
EL_DAPP = (ROOT / "contracts_py" / "el_dapp.py").read_bytes()
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")


class Planted(ContractProcess):
    """A worker that, having given up its rights, runs `trap` instead of its second message."""

    trap = "pass"

    @property
    def entrance(self):
        lines = (
            "import socket, ctypes, mmap, threading, os, subprocess, time",
            "from node.isolation import worker",
            "run, seen = worker.execute_message, []",
            "def trapped(*arguments):",
            f"    if seen: {self.trap}",
            "    seen.append(1)",
            "    return run(*arguments)",
            "worker.execute_message = trapped",
            "worker.main()",
        )
        return f"exec({chr(10).join(lines)!r})"


@pytest.fixture
def start():
    """Starts workers and ends them with the test; `.deaths` are what nodes were told."""
    started = []

    def begin(kind=ContractProcess, memory=MEMORY, **fields):
        deaths = []
        process = kind(memory, deaths.append)
        vars(process).update(fields, deaths=deaths)
        started.append(process)
        process.start()
        return process

    yield begin
    for process in started:
        process.stop()


class IsolatedStory(Story):
    process: ContractProcess

    def send(self, execute, *rest):
        kind = {execute_call: "call", execute_creation: "creation"}[execute]
        return super().send(
            lambda state, block, message: self.process.execute(kind, state, block, message),
            *rest,
        )


def make_story(process, source=EL_DAPP, seed=0):
    story = IsolatedStory(source, random.Random(seed).randrange)
    story.process = process
    return story


@pytest.fixture(scope="module")
def worker():
    process = ContractProcess(MEMORY, lambda fault: None)
    process.start()
    yield process
    process.stop()


CORPUS = list_contracts()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_results_gas_events_and_roots_are_the_same(worker, path):
    source = path.read_bytes()
    for seed in range(2):
        here = Story(source, random.Random(seed).randrange)
        there = make_story(worker, source, seed)
        outcomes = [digest_outcome(one) for one in here.play(25)]
        assert [digest_outcome(one) for one in there.play(25)] == outcomes
        assert there.state.commit().root == here.state.commit().root


@pytest.mark.parametrize("name", ["Ownable", "Pausable", "Roles", "Token"])
def test_what_contracts_build_on_is_read_before_the_door_closes(start, name):
    """Nothing of it was read by this process's own tests: the worker is a new one."""
    source = f"from ledger.contract import {name}, view\n\n\nclass Mine({name}):\n    pass\n"
    story = make_story(start(), source.encode())
    assert any(outcome.status == "success" for outcome in story.play(10))


ESCAPES = {
    "a file": "open('/etc/hostname')",
    "a file to write": "os.open('/tmp/escaped', os.O_CREAT | os.O_WRONLY)",
    "a socket": "socket.socket()",
    "a pair of sockets": "socket.socketpair()",
    "a child": "os.fork()",
    "a program": "os.execv('/bin/true', ['true'])",
    "a thread": "threading.Thread(target=int).start()",
    "a signal to another process": f"os.kill({os.getpid()}, 0)",
    "executable memory": "mmap.mmap(-1, 4096, prot=mmap.PROT_EXEC | mmap.PROT_READ)",
    "the standard error": "os.write(2, b'x')",
    "a folder": "os.listdir('/')",
    "the filter itself": "ctypes.CDLL(None).prctl(22, 2, 0)",
    "the limits": "__import__('resource').setrlimit(7, (9, 9))",
}


@pytest.mark.parametrize("what", ESCAPES)
def test_who_breaks_out_of_the_language_stands_before_the_next_wall(start, what):
    process = start(Planted, trap=ESCAPES[what])
    story = make_story(process)
    assert story.deploy().status in ("success", "revert")
    with pytest.raises(NodeFault, match="contract code broke out"):
        story.call()
    assert process.pid is None
    assert [str(death) for death in process.deaths] == [process.failure]


def test_a_trap_that_does_nothing_ends_nothing(start):
    """Or the escapes above would prove nothing."""
    process = start(Planted, trap="time.monotonic()")
    played = list(make_story(process).play(5))
    assert len(played) == 1 + 5  # the deployment first
    assert process.pid is not None
    assert process.deaths == []


def test_memory_is_bounded(start):
    process = start(Planted, trap="bytes(300 << 20)")
    story = make_story(process)
    story.deploy()
    with pytest.raises(NodeFault, match="MemoryError"):
        story.call()


def test_a_worker_that_was_killed_ends_the_nodes_part_for_good(start):
    process = start()
    story = make_story(process)
    story.deploy()
    os.kill(process.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(NodeFault, match=r"killed by SIGKILL.*until it is restarted"):
            story.call()
    assert len(process.deaths) == 1


def test_a_silent_worker_is_not_waited_for(start):
    process = start(Planted, trap="[0 for _ in iter(int, 1)]")
    assert process._channel.patience_s == contract_process.SILENCE_S_MAX
    story = make_story(process)
    story.deploy()
    process._channel.patience_s = 0.3
    began = time.monotonic()
    with pytest.raises(NodeFault, match="said nothing"):
        story.call()
    assert time.monotonic() - began < contract_process.SILENCE_S_MAX


@pytest.mark.parametrize(
    "said",
    [
        "[9]",
        "'text'",
        "[1, b'short', bytes(32)]",
        "[2, bytes(32)]",
        "[3, 'maybe', 0, b'', [], []]",
        "[3, 'success', 1 << 62, b'', [], []]",
        "[3, 'success', 0, b'', [], [[bytes(20), 0, b'\\x01', None, []]]]",
        "[3, 'success', 0, b'', [], [[bytes(20), 0, b'', b'code', []]]]",
        "[3, 'success', 0, b'', [], [[bytes(20), 0, b'', None, [[b'slot', b'1']]]]]",
        "[3, 'success', 0, b'', [], [[bytes(20), 0, b'', None, [[bytes(32), b'1' * 33]]]]]",
        "[3, 'success', 0, b'', [[1, 2]], []]",
        "[3, 'success', 0, 'text', [], []]",
        "{}",
    ],
)
def test_what_no_worker_says_is_not_believed(start, said):
    process = start(Planted, trap=f"worker.Channel(0, 1).send({said})")
    story = make_story(process)
    story.deploy()
    with pytest.raises(NodeFault, match="what no worker says"):
        story.call()


def test_what_the_store_refuses_is_the_stores_and_the_worker_goes_on(worker, monkeypatch):
    story = make_story(worker)
    assert any(outcome.status == "success" for outcome in story.play(20))

    def refuse(address, slot):
        raise StoreError("the disk failed")

    class Broken(type(story.state)):
        _load_word = staticmethod(refuse)

    root = story.state
    story.state = Broken(root._reader)
    story.state.set_code(CONTRACT, root.get_code(CONTRACT))
    for account in root._entries:
        if account != CONTRACT:
            story.state.set_balance(account, root.get_balance(account))
    with pytest.raises(StoreError, match="the disk failed"):
        for _ in range(40):
            story.call()
    assert make_story(worker).deploy()


def test_the_worker_never_had_the_nodes_memory_and_ends_with_the_node():
    script = (
        "import sys, time; secret = 'kept' + '-in-the-node'\n"
        "from node.isolation.contract_process import ContractProcess\n"
        "process = ContractProcess(1 << 28, print); process.start()\n"
        "print(process.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "SECRET": "in-the-environment"},
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and is_running(pid):
        assert time.monotonic() < deadline, "the worker outlived its node"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def test_what_a_call_read_is_sent_along_with_the_next_one_like_it(start, monkeypatch):
    process = start()
    asked = []
    answer = ContractProcess._answer
    monkeypatch.setattr(
        ContractProcess,
        "_answer",
        lambda self, question, *rest: asked.append(question) or answer(self, question, *rest),
    )
    chain = Chain()
    provider = chain.deploy(ROOT / "contracts_py" / "el_dapp.py", "Grid", "Street", sender="owner")
    provider.add_user(make_account("user"), sender="owner")
    data = abi.encode_call("setDebt(uint256,uint256,address)", (1_250, 296, make_account("user")))
    message = Message(make_account("user"), provider.address, 0, data, 10**6, False, b"", 0)
    block = BlockContext(1, 1_700_000_000, bytes(20), 10**7, 0, 1)
    counts = []
    for _ in range(3):
        asked.clear()
        here = chain.state.snapshot()
        expected = execute_call(chain.state, block, message)
        chain.state.revert(here)
        assert process.execute("call", chain.state, block, message) == expected
        counts.append(len(asked))
    assert expected.status == "success"
    assert counts[0] > 3 and counts[1:] == [0, 0]
