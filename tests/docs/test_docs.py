"""What docs/ says is what the code has: settings, rules, gas, methods."""

import re
from dataclasses import MISSING, fields

import pytest

import meter.config
import node.config
from ledger.contract import gas
from ledger.contract.rules import RULES
from ledger.genesis import Genesis
from node.rpc.codec import BATCH_CALLS_MAX
from node.rpc.parameters import REQUIRED
from node.rpc.table import METHODS
from tests.docs.pages import DOCS, README, table_rows

SETTINGS = (DOCS / "settings.md").read_text()


def test_every_setting_of_a_node_is_documented_with_its_default() -> None:
    assert node.config.settings_documentation() in SETTINGS


def test_every_setting_of_a_meter_is_documented_with_its_default() -> None:
    assert meter.config.settings_documentation() in SETTINGS


def test_every_key_of_the_network_file_is_documented_with_its_default() -> None:
    documented = {row[0]: row[1] for row in table_rows(DOCS / "settings.md", "key")}
    expected = {"`peers`": "`[]`"}
    for item in fields(Genesis):
        default = item.default
        if item.name in ("alloc", "contracts", "overrides"):
            shown = "`{}`" if item.name == "alloc" else "`[]`"
        elif default is MISSING:
            shown = "required"
        elif isinstance(default, bool):
            shown = f"`{str(default).lower()}`"
        else:
            shown = f'`"{default}"`' if isinstance(default, str) else f"`{default}`"
        expected[f"`{item.name}`"] = shown
    assert documented == expected


def test_every_rule_of_the_contract_language_is_documented() -> None:
    assert table_rows(DOCS / "contracts.md", "rule") == [
        [f"`{rule.name}`", rule.what, rule.hint] for rule in RULES.values()
    ]


def test_the_prices_are_those_of_the_code() -> None:
    prices = {row[0]: int(row[1].replace(",", "")) for row in table_rows(DOCS / "contracts.md",
                                                                         "what")}  # fmt: skip
    assert prices == {
        "a word of storage, first touched in a call": gas.GAS_LOAD,
        "the same word read again": gas.GAS_LOAD_AGAIN,
        "and when it is first written in that call": gas.GAS_STORE,
        "the same word written again": gas.GAS_STORE_AGAIN,
        "the key of a map": gas.GAS_HASH,
        "a topic of an event": gas.GAS_TOPIC,
        "a word of an event's data": gas.GAS_LOG_WORD,
        "a call": gas.GAS_CALL,
        "a word of arguments or results": gas.GAS_DATA_WORD,
        "a byte of source, once, at deploy": gas.GAS_SOURCE_BYTE,
        "a word or sign of source, once, at deploy": gas.GAS_SOURCE_TOKEN,
    }


def test_every_method_is_documented_with_its_parameters() -> None:
    documented = {row[0]: row[1] for row in table_rows(DOCS / "json-rpc.md", "method")}
    assert documented == {
        f"`{name}`": ", ".join(
            one.name if one.default is REQUIRED else f"[{one.name}]" for one in method.parameters
        )
        for name, method in METHODS.items()
    }
    assert all(row[2] for row in table_rows(DOCS / "json-rpc.md", "method"))
    assert f"batches of up to {BATCH_CALLS_MAX:,} calls" in (DOCS / "json-rpc.md").read_text()


@pytest.mark.parametrize("page", [README, *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_no_link_is_dead(page) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target.split("#")[0]).exists(), target
