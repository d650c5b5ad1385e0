"""Bases in one source and in the standard library: order of storage, overrides, constructors."""

from pathlib import Path
from typing import Any

import pytest

from ledger import contract as api
from ledger.contract.compile import compile_contract
from ledger.contract.layout import describe_layout
from ledger.contract.library import LIBRARY, price_libraries, read_library
from ledger.contract.testing import Chain
from ledger.crypto.keccak import keccak256
from ledger.errors import ContractRejected

FAMILY = '''
"""Four classes in a diamond."""

from ledger.contract import (Contract, Event, Role, address, override, uint8, uint256, view,
    write)


class Made(Event):
    who: uint8


class Root(Contract):
    root: uint256

    def __init__(self, start: uint256) -> None:
        self.root = start
        self.emit(Made(0))

    @view
    def title(self) -> uint256:
        return 1 + self._more()

    def _more(self) -> uint256:
        return 10


class Left(Root):
    left: uint8
    keepers = Role()

    @override
    @view
    def title(self) -> uint256:
        return super().title() + 100

    @override
    def _more(self) -> uint256:
        return super()._more() + 1


class Right(Root):
    right: uint8

    @override
    @view
    def title(self) -> uint256:
        return super().title() + 1_000


class Both(Left, Right):
    own: address

    def __init__(self, start: uint256) -> None:
        Root.__init__(self, start * 2)
        self.own = self.msg.sender
        self.keepers.grant(self.own)

    @override
    @view
    def title(self) -> uint256:
        return super().title() + Root.title(self) * 100_000 + Root._more(self) * 10_000_000

    @write(by=keepers)
    def set(self, start: uint256) -> None:
        self.root = start
'''.replace("def set(", "def set_(")


def deploy(tmp_path: Path, source: str, *arguments: Any) -> Any:
    path = tmp_path / "family_contract.py"
    path.write_text(source)
    return Chain().deploy(path, *arguments, sender="alice")


def test_methods_are_found_in_pythons_order(tmp_path: Path) -> None:
    both = deploy(tmp_path, FAMILY.replace("@write(by=keepers)", "@write"), 4)

    class Plain:
        root = 0

        def emit(self, event: Any) -> None:
            pass

    text = FAMILY.split('"""', 2)[2].split("\n\n\nclass Made")[1]
    text = "class Made" + text.replace("keepers = Role()", "").replace("(by=keepers)", "")
    names = {"Contract": Plain, "Event": object, "address": bytes, "uint8": int, "uint256": int}
    plain = {**names, **dict.fromkeys(("view", "write", "override"), lambda f: f)}
    exec(text, plain, plain)
    expected = plain["Both"].title(plain["Both"].__new__(plain["Both"]))
    assert both.title() == expected == (1 + 11 + 1_000 + 100) + 12 * 100_000 + 10 * 10_000_000


def test_storage_stands_in_soliditys_order() -> None:
    layout = describe_layout(compile_contract(FAMILY.encode()).model)
    places = [(each["label"], each["slot"], each["offset"]) for each in layout["storage"]]
    assert places == [
        ("root", "0", 0),
        ("left", "1", 0),
        ("keepers", "2", 0),
        ("right", "3", 0),
        ("own", "3", 1),
    ]


SHOP = '''
"""A token with an owner who may stop it."""

from ledger.contract import (Ownable, Pausable, Token, Roles, address, bytes4, bytes32, keccak256,
    override, uint256, view, write)

MINTER = keccak256(b"MINTER")


class Shop(Ownable, Pausable, Roles, Token):
    sold: uint256

    def __init__(self, supply: uint256) -> None:
        Ownable.__init__(self, self.msg.sender)
        Token.__init__(self, "Shop", "SHP")
        self._grant_role(MINTER, self.msg.sender)
        self._mint(self.msg.sender, supply)

    @write
    def pause(self) -> None:
        self._check_owner()
        self._pause()

    @write
    def mint(self, to: address, value: uint256) -> None:
        self._check_role(MINTER)
        self._mint(to, value)

    @override
    def _update(self, from_: address, to: address, value: uint256) -> None:
        self._check_not_paused()
        super()._update(from_, to, value)
        self.sold += value

    @override
    @view
    def supports_interface(self, interface_id_: bytes4) -> bool:
        return Token.supports_interface(self, interface_id_) or Roles.supports_interface(
            self, interface_id_)
'''


def test_a_contract_stands_on_the_library(tmp_path: Path) -> None:
    shop = deploy(tmp_path, SHOP, 1_000)
    alice, bob = shop.owner(), b"\x0b" * 20
    assert (shop.symbol(), shop.decimals()) == ("SHP", 18)
    assert shop.total_supply() == 1_000 == shop.balance_of(alice)
    receipt = shop.transfer(bob, 5, sender="alice")
    assert receipt.events == [api.Transfer(alice, bob, 5)]
    assert shop.balance_of(bob) == 5
    with pytest.raises(api.ERC20InsufficientBalance):
        shop.transfer(bob, 10_000, sender="alice")
    with pytest.raises(api.ERC20InvalidReceiver):
        shop.transfer(bytes(20), 1, sender="alice")
    shop.approve(bob, 7, sender="alice")
    with pytest.raises(api.ERC20InsufficientAllowance):
        shop.transfer_from(alice, bob, 8, sender=bob)
    shop.transfer_from(alice, bob, 7, sender=bob)
    assert shop.allowance(alice, bob) == 0
    with pytest.raises(api.AccessControlUnauthorizedAccount):
        shop.mint(bob, 1, sender=bob)
    shop.mint(bob, 1, sender="alice")
    with pytest.raises(api.OwnableUnauthorizedAccount):
        shop.pause(sender=bob)
    shop.pause(sender="alice")
    with pytest.raises(api.EnforcedPause):
        shop.transfer(bob, 1, sender="alice")
    for number in (0x36372B07, 0x7965DB0B, 0x01FFC9A7):
        assert shop.supports_interface(number.to_bytes(4, "big")) is True
    assert shop.supports_interface(b"\xff" * 4) is False


def test_storage_of_the_library_stands_first() -> None:
    model = compile_contract(SHOP.encode()).model
    assert [field.name for field in model.fields] == [
        "_owner",
        "_paused",
        "_members",
        "_admins",
        "_balances",
        "_allowances",
        "_total_supply",
        "_name",
        "_symbol",
        "sold",
    ]


GOLDEN = {
    "ownable": "d20599ba654e1d40",
    "pausable": "7f64a84f7305d150",
    "roles": "21dca9934a18fbcd",
    "token": "041c0da869ffe4d3",
}


def test_the_librarys_text_is_part_of_the_rules() -> None:
    """Another text is another contract on every chain: raise RULES_VERSION with it."""
    hashes = {name: keccak256(read_library(name)[0]).hex()[:16] for name in GOLDEN}
    assert hashes == GOLDEN


def test_every_name_of_the_library_can_be_imported() -> None:
    for name, module in LIBRARY.items():
        assert hasattr(api, name) and name in api.__all__, (name, module)


def test_the_library_is_paid_for() -> None:
    assert price_libraries(b"from ledger.contract import Contract, Tokens") == 0
    token = price_libraries(b"class X(Token):")
    assert token > 500_000
    assert price_libraries(b"Token Transfer") == token < price_libraries(SHOP.encode())


HEAD = FAMILY + "\n\n"
REFUSED: list[tuple[str, str, str]] = [
    ("override", "    def _more(self) -> uint256:\n        return super()._more() + 1",
     "    def _none(self) -> uint256:\n        return 1"),
    ("override", "    @override\n    def _more", "    def _more"),
    ("override", "    @override\n    def _more(self) -> uint256:",
     "    @override\n    def _more(self) -> uint8:"),
    ("override", "    @override\n    def _more(self) -> uint256:",
     "    @override\n    def _more(self, x: uint8) -> uint256:"),
    ("override", "    @override\n    @view\n    def title(self) -> uint256:\n        return super().title() + 100",  # noqa: E501
     "    @override\n    @write\n    def title(self) -> uint256:\n        return super().title() + 100"),  # noqa: E501
    ("override", "    @override\n    @view\n    def title(self) -> uint256:\n        return super().title() + Root",  # noqa: E501
     "    @view\n    def other(self) -> uint256:\n        return super().title() + Root"),
    ("decorator", "    @override\n    def _more", "    @override\n    @override\n    def _more"),
    ("decorator", "    @override\n    @view\n    def title", "    @view\n    @override\n    def title"),  # noqa: E501
    ("class", "        Root.__init__(self, start * 2)\n", ""),
    ("class", "Root.__init__(self, start * 2)",
     "Root.__init__(self, 1)\n        super().__init__(2)"),
    ("attribute", "Root.__init__(self, start * 2)",
     "if start > 1:\n            Root.__init__(self, start * 2)"),
    ("attribute", "        self.root = start", "        Root.__init__(self, start)"),
    ("attribute", "        self.root = start", "        super().__init__(start)"),
    ("attribute", "        self.root = start", "        super().missing()"),
    ("attribute", "        self.root = start", "        Root.title(start)"),
    ("attribute", "        self.root = start", "        Both.title(self)"),
    ("attribute", "        self.root = start", "        Left.title(Root)"),
    ("attribute", "        self.root = start", "        super().root = start"),
    ("name", "        self.root = start", "        self.root = super().root"),
    ("name", "        self.root = start", "        x = super()"),
    ("name", "        self.root = start", "        x = Root"),
    ("name", "        self.root = start", "        x = super(Root, self)"),
    ("name", "        self.root = start", "        self.root = super().title"),
    ("binding", "    own: address", "    root: address"),
    ("binding", "    own: address", "    _more: address"),
    ("binding", "    right: uint8", "    left: uint8"),
    ("binding", "    right: uint8", "    title: uint8"),
    ("binding", "    own: address", "    own: address\n    @view\n    def left(self) -> uint8:\n        return 1"),  # noqa: E501
    ("class", "class Both(Left, Right)", "class Both(Root, Left)"),
    ("class", "class Both(Left, Right)", "class Both(Left, Left)"),
    ("class", "class Both(Left, Right)", "class Both(Left, Contract)"),
    ("class", "class Both(Left, Right)", "class Both(Left, Event)"),
    ("class", "class Both(Left, Right)", "class Both(Left, Later)"),
    ("class", "class Both(Left, Right)", "class Both(Left, Made)"),
    ("form", "class Both(Left, Right)", "class Both(Left, metaclass=Right)"),
    ("module", "class Both(Left, Right)", "class Other(Contract):\n    pass\n\n\nclass Both(Left, Right)"),  # noqa: E501
    ("attribute", "        return 10", "        return self.left"),
    ("attribute", "        return 10", "        return self._later()"),
    ("call-depth", "        return 10", "        return self.title()"),
    ("view-writes", "        return super()._more() + 1", "        self.left = 1\n        return 1"),  # noqa: E501
]  # fmt: skip


@pytest.mark.parametrize(("rule", "old", "new"), REFUSED)
def test_a_wrong_family_is_refused_by_its_name(rule: str, old: str, new: str) -> None:
    assert old in HEAD
    with pytest.raises(ContractRejected) as caught:
        compile_contract(HEAD.replace(old, new).encode())
    assert caught.value.rule == rule, caught.value


SHOP_REFUSED = [
    (
        "override",
        "    @override\n    @view\n    def supports_interface",
        "    @view\n    def supports",
    ),
    ("class", '        Token.__init__(self, "Shop", "SHP")\n', ""),
    ("binding", "    sold: uint256", "    _balances: uint256"),
    ("binding", "class Shop(", "class Token(Ownable):\n    pass\n\n\nclass Shop("),
    ("binding", "MINTER =", "Ownable ="),
    ("import", "import (Ownable, ", "import (Ownable, Transferred, "),
    ("import", "from ledger.contract import", "from ledger.contract.standard.token import"),
    ("control", "        self._pause()", "        raise EnforcedPause()"),
    ("class", "class Shop(", "class Transfer(Event):\n    pass\n\n\nclass Shop("),
]


@pytest.mark.parametrize(("rule", "old", "new"), SHOP_REFUSED)
def test_a_wrong_use_of_the_library_is_refused_by_its_name(rule: str, old: str, new: str) -> None:
    assert old in SHOP
    with pytest.raises(ContractRejected) as caught:
        compile_contract(SHOP.replace(old, new).encode())
    assert caught.value.rule == rule, caught.value


def test_a_name_of_the_library_declared_again_is_refused() -> None:
    source = SHOP.replace("import (Ownable", "import (Event, Ownable").replace(
        "class Shop(", "class Transfer(Event):\n    x: uint256\n\n\nclass Shop("
    )
    with pytest.raises(ContractRejected) as caught:
        compile_contract(source.encode())
    assert caught.value.rule == "binding"


def test_locals_of_the_library_are_no_concern_of_fields_built_on_it(tmp_path: Path) -> None:
    source = SHOP.replace("sold", "left")
    assert "    left: uint256" in source
    assert deploy(tmp_path, source, 3).total_supply() == 3
