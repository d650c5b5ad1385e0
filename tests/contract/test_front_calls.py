"""Proxies, send, receive and the one form of `try`: typed, run against other contracts, refused."""

from pathlib import Path
from typing import Any

import pytest

from ledger.contract import CallFailed
from ledger.contract.compile import compile_contract
from ledger.contract.testing import Chain
from ledger.contract.testing.failures import ContractOutOfGas
from ledger.errors import ContractRejected

BANK = '''
"""What is called."""

from ledger.contract import (Contract, Map, Revert, address, payable, uint8, uint256, view, write)


class TooMuch(Revert):
    asked: uint256
    there: uint256


class Odd(Revert):
    pass


class Bank(Contract):
    _held: Map[address, uint256]

    @payable
    def put(self, account: address) -> uint256:
        self._held[account] += self.msg.value
        return self._held[account]

    @view
    def held(self, account: address) -> uint256:
        return self._held[account]

    @view
    def both(self, account: address) -> tuple[uint256, bool]:
        return self._held[account], True

    @write
    def take(self, account: address, amount: uint256) -> uint256:
        there = self._held[account]
        self._held[account] = 7
        if amount == 99:
            raise Odd()
        if amount > there:
            raise TooMuch(amount, there)
        self._held[account] = there - amount
        if amount == 3:
            x: uint8 = there + 255
        while amount == 2:
            self._held[account] += 1
        return there - amount
'''
CALLER = '''
"""What calls."""

from ledger.contract import (CallFailed, Contract, Interface, Revert, address, bytes4,
    coin_balance, interface_id, payable, uint8, uint64, uint256, view, write)


class TooMuch(Revert):
    asked: uint256
    there: uint256


class Mine(Revert):
    why: uint256


class Bank(Interface):
    """What this needs of a bank."""

    @payable
    def put(self, account: address) -> uint256: ...

    @view
    def held(self, account: address) -> uint256:
        """With a docstring."""

    @view
    def both(self, account: address) -> tuple[uint256, bool]: ...

    @write
    def take(self, account: address, amount: uint256) -> uint256: ...

    @write
    def missing(self) -> None: ...


class Caller(Contract):
    _bank: address
    _caught: uint256

    def __init__(self, bank: address) -> None:
        self._bank = bank

    @payable
    def receive(self) -> None:
        self._caught += 1

    @view
    def caught(self) -> uint256:
        return self._caught

    @payable
    def put(self) -> uint256:
        return Bank(self._bank, value=self.msg.value).put(self.address) + 1

    @view
    def held(self) -> uint256:
        there, sure = Bank(self._bank).both(self.address)
        if not sure:
            raise Mine(0)
        return there + Bank(self._bank).held(self.address)

    @write
    def take(self, amount: uint256) -> uint256:
        """The status of the call, or what it gave."""
        try:
            left = Bank(self._bank).take(self.address, amount)
        except TooMuch as error:
            self._caught = error.asked
            return error.there * 1000 + error.asked
        except CallFailed as failure:
            if failure.callee != self._bank:
                raise Mine(2)
            left = 77
        return left

    @write
    def budget(self, amount: uint256, gas: uint64) -> uint256:
        try:
            return Bank(self._bank, gas=gas).take(self.address, amount)
        except CallFailed:
            return 5

    @write
    def strict(self, amount: uint256) -> uint256:
        return Bank(self._bank).take(self.address, amount)

    @write
    def loop(self, times: uint8) -> uint256:
        seen = 0
        for i in range(times):
            try:
                Bank(self._bank).take(self.address, 1_000 + i)
            except TooMuch as error:
                if error.asked == 1_002:
                    continue
                if error.asked == 1_004:
                    break
                seen += error.asked
            seen += 1
        return seen

    @write
    def narrow(self) -> uint8:
        try:
            x: uint8 = Bank(self._bank).held(self.address)
        except CallFailed:
            return 0
        return x

    @write
    def pay(self, to: address, amount: uint256) -> uint256:
        self.send(to, amount)
        return self.balance

    @write
    def try_pay(self, to: address, amount: uint256) -> bool:
        try:
            self.send(to, amount)
        except CallFailed:
            return False
        return True

    @write
    def absent(self) -> None:
        Bank(self._bank).missing()

    @view
    def id_(self) -> bytes4:
        return interface_id(Bank)

    @view
    def rich(self, account: address) -> uint256:
        return coin_balance(account)
'''


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Any, Any, Chain]:
    (tmp_path / "bank_contract.py").write_text(BANK)
    (tmp_path / "caller_contract.py").write_text(CALLER)
    chain = Chain()
    chain.account("alice", 10**6)
    bank = chain.deploy(tmp_path / "bank_contract.py", sender="alice")
    caller = chain.deploy(tmp_path / "caller_contract.py", bank.address, sender="alice")
    return bank, caller, chain


def test_a_proxy_calls_with_coin_and_reads_tuples(pair: Any) -> None:
    bank, caller, chain = pair
    assert caller.put(value=500, sender="alice").returned == 501
    assert caller.held() == 1_000
    assert bank.held(caller.address) == 500
    assert chain.balance(bank.address) == 500
    assert caller.rich(bank.address) == 500


def test_a_typed_error_of_a_callee_is_caught_and_undone(pair: Any) -> None:
    bank, caller, _ = pair
    caller.put(value=500, sender="alice")
    assert caller.take(600, sender="alice").returned == 500_600
    assert caller.caught() == 600
    assert bank.held(caller.address) == 500  # not 7
    assert caller.take(100, sender="alice").returned == 400


def test_whatever_else_a_callee_does_is_call_failed(pair: Any) -> None:
    _, caller, _ = pair
    caller.put(value=500, sender="alice")
    assert caller.take(99, sender="alice").returned == 77  # an error that is not declared here
    assert caller.take(3, sender="alice").returned == 77  # a panic
    assert caller.budget(2, 50_000, sender="alice").returned == 5  # its budget is gone


def test_out_of_gas_of_a_callee_is_not_caught(pair: Any) -> None:
    _, caller, _ = pair
    caller.put(value=500, sender="alice")
    with pytest.raises(ContractOutOfGas):
        caller.take(2, sender="alice")
    assert caller.caught() == 0


def test_an_error_nobody_catches_is_passed_on(pair: Any) -> None:
    _, caller, _ = pair
    with pytest.raises(Exception, match=r"\(5, 0\)"):
        caller.strict(5, sender="alice")
    with pytest.raises(CallFailed):
        caller.absent(sender="alice")


def test_handlers_may_leave_loops(pair: Any) -> None:
    _, caller, _ = pair
    assert caller.loop(9, sender="alice").returned == 1_000 + 1_001 + 1_003 + 3


def test_a_caught_result_is_tested_against_its_type(pair: Any) -> None:
    _, caller, _ = pair
    caller.put(value=200, sender="alice")
    assert caller.narrow(sender="alice").returned == 200
    caller.put(value=200, sender="alice")
    with pytest.raises(Exception, match="0x11"):
        caller.narrow(sender="alice")


def test_coin_is_sent_and_received(pair: Any) -> None:
    bank, caller, chain = pair
    chain.transfer(caller.address, 100, sender="alice")
    assert caller.caught() == 1
    assert caller.pay(b"\x77" * 20, 40, sender="alice").returned == 60
    assert chain.balance(b"\x77" * 20) == 40
    assert caller.try_pay(bank.address, 1, sender="alice").returned is False  # it has no receive
    assert caller.try_pay(b"\x77" * 20, 61, sender="alice").returned is False  # more than it has
    assert caller.try_pay(b"\x77" * 20, 60, sender="alice").returned is True
    with pytest.raises(CallFailed):
        caller.pay(bank.address, 1, sender="alice")


def test_an_interface_has_its_erc165_number(pair: Any) -> None:
    from ledger.encoding import abi

    names = ["put(address)", "held(address)", "both(address)", "take(address,uint256)", "missing()"]
    number = 0
    for name in names:
        number ^= int.from_bytes(abi.selector(name), "big")
    assert pair[1].id_() == number.to_bytes(4, "big")


SHORT = {
    "<try>": "try:\n    x = <bank>.held(<me>)",
    "<mine>": "except Mine",
    "<bank>": "Bank(self._bank)",
    "<me>": "self.address",
    "<view>": "@view\n    def",
    "<X>": "class X(Interface):",
}


def spell(text: str) -> str:
    """A line of the tables below with its short words written out."""
    text = text.strip().replace("\\n", "\n")
    for short, long in SHORT.items():
        text = text.replace(short, long)
    return text


BODIES = r"""
handle   | x = <bank>\nreturn 1
handle   | return self._helper(<bank>)
handle   | return 1 if <bank> == <bank> else 2
attribute| return <bank>.call__()
attribute| return <bank>.unknown()
handle   | return <bank>.held
type     | return Bank(a).held(<me>)
type     | return Bank().held(<me>)
type     | return Bank(self._bank, self._bank).held(<me>)
type     | return <bank>.held(a)
type     | return <bank>.held()
form     | return <bank>.held(account=<me>)
type     | return Bank(self._bank, value=1).held(<me>)
type     | return Bank(self._bank, gas=True).held(<me>)
type     | return Bank(self._bank, gas=1, gas=2).held(<me>)
type     | return Bank(self._bank, to=1).held(<me>)
type     | x = <bank>.missing()\nreturn 1
type     | x = <bank>.both(<me>)\nreturn 1
attribute| return self.call__("Bank", "held", self._bank, [], 0, 0)
attribute| return self.try__("Bank", "held", self._bank, [], 0, 0, [])
binding  | CallFailed = a\nreturn a
type     | self.send(a, a)\nreturn 1
type     | return self.send(self._bank, a)
control  | raise CallFailed(self._bank)
control  | try:\n    x = 1\nexcept TooMuch:\n    pass\nreturn 1
control  | try:\n    self._helper(1)\n<mine>:\n    pass\nreturn 1
control  | try:\n    raise Mine(1)\n<mine>:\n    pass\nreturn 1
control  | <try> + 1\n<mine>:\n    pass\nreturn 1
control  | try:\n    x = <bank>.take(<me>, self._helper(1))\n<mine>:\n    pass\nreturn 1
control  | try:\n    x = <bank>.take(<me>, <bank>.held(<me>))\n<mine>:\n    pass\nreturn 1
control  | <try>\n    x = 2\n<mine>:\n    pass\nreturn 1
control  | <try>\nexcept:\n    pass\nreturn 1
control  | <try>\nexcept ValueError:\n    pass\nreturn 1
control  | <try>\nexcept (Mine, TooMuch):\n    pass\nreturn 1
control  | <try>\n<mine>:\n    pass\n<mine>:\n    pass\nreturn 1
form     | <try>\n<mine>:\n    pass\nelse:\n    pass\nreturn 1
form     | <try>\n<mine>:\n    pass\nfinally:\n    pass\nreturn 1
form     | <try>\nfinally:\n    return 1
form     | <try>\nexcept* Mine:\n    pass\nreturn 1
unassigned | <try>\n<mine>:\n    pass\nreturn x
unassigned | <try>\n<mine>:\n    y = x\nreturn 1
name     | <try>\n<mine> as e:\n    pass\nreturn e.why
binding  | <try>\n<mine> as a:\n    pass\nreturn 1
binding  | <try>\n<mine> as self:\n    pass\nreturn 1
binding  | <try>\n<mine> as len:\n    pass\nreturn 1
binding  | <try>\n<mine> as __x:\n    pass\nreturn 1
attribute| <try>\n<mine> as e:\n    return e.args\nreturn 1
attribute| <try>\n<mine> as e:\n    return e.__traceback__\nreturn 1
control  | <try>\n<mine> as e:\n    raise e\nreturn 1
control  | <try>\n<mine> as e:\n    raise\nreturn 1
unreachable | try:\n    return <bank>.held(<me>)\n<mine>:\n    return 2\nreturn 1
missing-return | try:\n    return <bank>.held(<me>)\n<mine>:\n    pass
form     | return ...
"""


@pytest.mark.parametrize(
    ("rule", "body"), [line.split("|", 1) for line in BODIES.strip().splitlines()]
)
def test_a_wrong_call_is_refused_by_its_name(rule: str, body: str) -> None:
    lines = spell(body).replace("\n", "\n        ")
    tail = "    def _helper(self, x: uint256) -> uint256:\n        return x\n"
    tail += f"    @write\n    def run(self, a: uint256) -> uint256:\n        {lines}\n"
    with pytest.raises(ContractRejected) as caught:
        compile_contract((CALLER + tail).encode())
    assert caught.value.rule == rule.strip(), caught.value


METHODS = r"""
view-writes | <view> run(self) -> None:\n        self.send(self._bank, 1)
view-writes | <view> run(self) -> uint256:\n        return <bank>.take(self._bank, 1)
view-writes | <view> run(self) -> uint256:\n        return Bank(self._bank, value=1).put(self._bank)
decorator   | @write\n    def migrate(self) -> None:\n        pass
type        | def migrate(self, x: uint8) -> None:\n        pass
type        | def migrate(self) -> uint8:\n        return 1
attribute   | def migrate(self) -> None:\n        self.migrate()
binding     | send: uint8
decorator   | @write(reentrant=False)\n    def run(self) -> None:\n        pass
decorator   | @write(reentrant=True, x=1)\n    def run(self) -> None:\n        pass
decorator   | @view(reentrant=True)\n    def run(self) -> uint8:\n        return 1
"""


@pytest.mark.parametrize(
    ("rule", "method"), [line.split("|", 1) for line in METHODS.strip().splitlines()]
)
def test_a_wrong_method_is_refused_by_its_name(rule: str, method: str) -> None:
    method = spell(method)
    with pytest.raises(ContractRejected) as caught:
        compile_contract((CALLER + f"    {method}\n").encode())
    assert caught.value.rule == rule.strip(), caught.value


HEADS = r"""
class     | <X>\n    pass
class     | <X>\n    x: uint8
class     | <X>\n    def _f(self) -> None: ...
class     | <X>\n    def __init__(self) -> None: ...
class     | <X>\n    <view> f(self) -> uint8:\n        return 1
class     | <X>\n    <view> f(self) -> None:\n        ...\n        ...
class     | <X>\n    <view> f(self) -> None: ...\n    <view> f(self) -> None: ...
decorator | <X>\n    def f(self) -> None: ...
abi-name  | <X>\n    <view> f(self) -> None: ...\n    <view> f_(self) -> None: ...
class     | class CallFailed2(Interface, Contract):\n    pass
binding   | class CallFailed(Revert):\n    callee: address
decorator | <X>\n    @write(by=operators)\n    def f(self) -> None: ...
"""


@pytest.mark.parametrize(
    ("rule", "head"), [line.split("|", 1) for line in HEADS.strip().splitlines()]
)
def test_a_wrong_interface_is_refused_by_its_name(rule: str, head: str) -> None:
    head = spell(head)
    source = CALLER.replace("class Caller", f"{head}\n\n\nclass Caller")
    with pytest.raises(ContractRejected) as caught:
        compile_contract(source.encode())
    assert caught.value.rule == rule.strip(), caught.value


@pytest.mark.parametrize(
    "method",
    [
        "@write\n    def receive(self) -> None:\n        pass",
        "@payable\n    def receive(self, x: uint8) -> None:\n        pass",
        "@payable\n    def receive(self) -> uint8:\n        return 1",
        "@payable(reentrant=True)\n    def receive(self) -> None:\n        pass",
    ],
)
def test_receive_takes_plain_coin(method: str) -> None:
    source = "from ledger.contract import Contract, payable, uint8, write\n"
    source += f"class C(Contract):\n    {method}\n"
    if "reentrant" in method:
        method_model = compile_contract(source.encode()).model.methods[0]
        assert method_model.reentrant and method_model.payable
        return
    with pytest.raises(ContractRejected) as caught:
        compile_contract(source.encode())
    assert caught.value.rule == "decorator"
