"""Commands against a running network: money, contracts, usage, bills."""

import json
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

from tests.commands.conftest import (
    FIRST_PERIOD,
    HOME,
    HOURS,
    METER,
    MONTH,
    OWNER,
    REASON,
    SECOND,
    Grid,
)
from tests.commands.terminal import fail, run, succeed
from tests.commands.test_contracts import JAR

IMPORT_WH = sum(1_000 + hour for hour in range(HOURS)) - 500
# 20 kWh at 3.00, 20 at 5.00, the rest at 9.00, in hundredths, half up
AMOUNT = (20_000 * 300 + 20_000 * 500 + (IMPORT_WH - 40_000) * 900 + 500) // 1_000


def test_an_account_and_what_it_sends(grid: Grid) -> None:
    nobody = "0x" + "ab" * 20

    def wei() -> int:
        text = succeed("account", "balance", nobody, "--json", *grid.rpc)
        return int(json.loads(text)["wei"])

    for amount, more in (("1.5", 15 * 10**17), ("10wei", 10), (".000000000000000001", 1)):
        before = wei()
        text = succeed("account", "send", OWNER, nobody, amount, *grid.rpc)
        assert text.startswith("sent in block ")
        assert wei() - before == more
    assert "1.500000000000000011 coins" in succeed("account", "balance", nobody, *grid.rpc)


def test_an_account_with_a_key_file_signs_here(grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    keys = ("--keystore", tmp_path / "keys", "--password-file", tmp_path / "password")
    made = json.loads(succeed("account", "new", *keys, "--json"))["address"]
    succeed("account", "send", OWNER, made, "1", *grid.rpc)
    succeed("account", "send", made, OWNER, "0.25", *keys, *grid.rpc)
    left = json.loads(succeed("account", "balance", made, "--json", *grid.rpc))
    assert (left["wei"], left["nonce"]) == (str(75 * 10**16), 1)
    error = fail("account", "send", made, OWNER, "2", *keys, *grid.rpc)
    assert "insufficient funds" in error
    other = "0x" + "cd" * 20
    assert "account import" in fail("account", "send", other, OWNER, "0", *keys, *grid.rpc)


def test_a_contract_from_source_to_answer(grid: Grid, tmp_path: Path) -> None:
    text = succeed("contract", "deploy", "el_dapp", "Co-op", "Our street", "--from", OWNER,
                   *grid.rpc)  # fmt: skip
    address = text.split(" at ")[1].split(",")[0]
    succeed("contract", "build", "el_dapp", "-o", tmp_path / "Provider.json")
    for abi in ("el_dapp", tmp_path / "Provider.json"):
        called = ("contract", "call", address, abi, "providerName", *grid.rpc)
        assert succeed(*called) == "Co-op\n"
        assert json.loads(succeed(*called, "--json")) == "Co-op"
    sent = succeed("contract", "send", address, "el_dapp", "addUser", METER, "--from", OWNER,
                   "--json", *grid.rpc)  # fmt: skip
    receipt = json.loads(sent)
    assert receipt["status"] == "0x1"
    assert len(receipt["logs"]) == 1
    error = fail("contract", "send", address, "el_dapp", "addUser", METER, "--from", METER,
                 *grid.rpc)  # fmt: skip
    assert error == f"the contract refused: NotProvider(caller={METER})"


def test_a_contract_that_breaks_a_rule_is_not_sent(grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import os\n")
    before = succeed("account", "balance", OWNER, "--json", *grid.rpc)
    error = fail("contract", "deploy", tmp_path / "bad.py", "--from", OWNER, *grid.rpc)
    assert error.startswith(f"{tmp_path}/bad.py: line 1, column 1: ")
    assert succeed("account", "balance", OWNER, "--json", *grid.rpc) == before


def test_constructor_arguments_are_asked_for_by_name(grid: Grid) -> None:
    error = fail("contract", "deploy", "metering", "3600", "--from", OWNER, *grid.rpc)
    assert "uint32 periodSeconds, int32 utcOffsetSeconds" in error


def test_lists_and_structs_are_shown_as_json(grid: Grid) -> None:
    called = succeed("contract", "call", grid.contract, "metering", "metersOf", HOME, "--json",
                     *grid.rpc)  # fmt: skip
    assert json.loads(called) == [METER, SECOND]
    meter = succeed("contract", "call", grid.contract, "metering", "meter", METER, *grid.rpc)
    assert json.loads(meter)["account"] == HOME


def test_a_node_says_how_it_is(grid: Grid) -> None:
    assert "All is well" in succeed("node", "status", *grid.rpc)
    status = json.loads(succeed("node", "status", "--json", *grid.rpc))
    assert status["chainId"] == 1947


def test_usage_by_day(grid: Grid) -> None:
    days = json.loads(succeed("usage", *grid.bill, "--json", *grid.rpc))
    assert [(day["day"], day["readings"]) for day in days] == [
        ("2026-10-01", 24), ("2026-10-02", 24), ("2026-10-03", 2), ("2026-10-30", 1),
    ]  # fmt: skip
    assert sum(day["importWh"] for day in days) == IMPORT_WH
    assert days[-1]["exportWh"] == 250
    table = succeed("usage", *grid.bill, *grid.rpc)
    assert "2026-10-30" in table
    assert f"{IMPORT_WH / 1_000:.3f}" in table


def test_a_bill_as_json_adds_up(grid: Grid) -> None:
    bill = json.loads(succeed("bill", *grid.bill, "--json", *grid.rpc))
    assert (bill["importWh"], bill["exportWh"], bill["amount"]) == (IMPORT_WH, 250, AMOUNT)
    assert sum(line["charge"] for line in bill["lines"]) == bill["charge"]
    assert bill["readings"] == HOURS + 1
    assert bill["estimated"] == 3
    (correction,) = bill["corrections"]
    assert (correction["originalImportWh"], correction["importWh"]) == (1_003, 503)
    assert (correction["operator"], correction["reason"]) == (OWNER, REASON)
    gaps = [(gap["firstPeriod"] - FIRST_PERIOD, gap["lastPeriod"] - FIRST_PERIOD)
            for gap in bill["gaps"] if gap["meter"] == METER]  # fmt: skip
    assert gaps == [(HOURS, 31 * 24 - 1)]


def test_a_bill_for_people_says_how_to_prove_it(grid: Grid) -> None:
    text = succeed("bill", *grid.bill, *grid.rpc)
    assert f"{AMOUNT // 100}.{AMOUNT % 100:02d}" in text
    assert "nothing is charged for them" in " ".join(text.split())
    assert "the clamp [/sat] the wrong way <round> \\x1b[2J :bulb:" in " ".join(text.split())
    assert "\x1b" not in text
    command = text.splitlines()[-1].split()
    assert command[0] == "wattledger"
    command[command.index("network.json")] = str(grid.network)
    assert "Proved" in succeed(*command[1:])


class Page(HTMLParser):
    """Whether every tag is closed, and what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_of_a_bill(grid: Grid, tmp_path: Path) -> None:
    out = succeed("bill", *grid.bill, "--html", tmp_path / "bill.html", *grid.rpc)
    assert str(tmp_path / "bill.html") in out.replace("\n", "")
    html = (tmp_path / "bill.html").read_text()
    page = Page()
    page.feed(html)
    assert page.open == []
    assert page.loaded == []  # it needs nothing from the network
    for part in (HOME, grid.contract, MONTH, f"{AMOUNT // 100}.{AMOUNT % 100:02d}",
                 "0.250", "from 20 to 40 kWh", REASON, "without a reading", "estimated",
                 "wattledger verify bill"):  # fmt: skip
        assert part in page.text, part
    assert "<round>" not in html
    assert REASON in unescape(html)


def test_a_page_that_cannot_be_written_is_named(grid: Grid, tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "bill.html"
    assert str(nowhere) in fail("bill", *grid.bill, "--html", nowhere, *grid.rpc)


def test_a_month_without_readings_costs_nothing(grid: Grid) -> None:
    bill = (*grid.bill[:4], "--month", "2020-02")
    assert json.loads(succeed("bill", *bill, "--json", *grid.rpc))["amount"] == 0
    assert json.loads(succeed("usage", *bill, "--json", *grid.rpc)) == []
    stranger = (*grid.bill[:3], OWNER, "--month", MONTH)
    assert "no meter was ever enrolled" in succeed("bill", *stranger, *grid.rpc)


def test_an_address_without_the_contract_is_named(grid: Grid) -> None:
    for contract in (OWNER, "0x0000000000000000000000000000000000001001"):
        done = run("bill", "--contract", contract, *grid.bill[2:], *grid.rpc)
        assert done.code == 1
        assert done.err.startswith("error: ")
        assert "contract" in done.err
        assert len(done.err.splitlines()) == 1


def test_what_would_do_nothing_is_said(grid: Grid, tmp_path: Path) -> None:
    nobody = "0x" + "ab" * 20
    for command in (("call", nobody, "el_dapp", "getBill", HOME),
                    ("send", nobody, "el_dapp", "addUser", HOME, "--from", OWNER)):  # fmt: skip
        assert "has no contract at 0x" in fail("contract", *command, *grid.rpc)
    jar = tmp_path / "jar.py"
    jar.write_text(JAR)
    deployed = succeed("contract", "deploy", jar, "--from", OWNER, "--json", *grid.rpc)
    address = json.loads(deployed)["address"]
    tried = run("contract", "call", address, jar, "put", 5, *grid.rpc)
    assert tried.code == 0 and "changed nothing" in tried.err
    assert succeed("contract", "call", address, jar, "count", *grid.rpc) == "0\n"
    read = run("contract", "send", address, jar, "count", "--from", OWNER, *grid.rpc)
    assert read.code == 0 and "only reads" in read.err


def test_a_revert_without_words_is_explained(grid: Grid) -> None:
    told = fail("contract", "call", grid.contract, "el_dapp", "getBill", HOME, *grid.rpc)
    assert told.startswith("the contract refused: no reason given")
    told = fail("contract", "deploy", "metering", 0, 0, "--from", OWNER, *grid.rpc)
    assert told == "the contract refused: InvalidSetting()"


def test_a_revert_is_told_in_the_contracts_words(grid: Grid) -> None:
    again = ("record", FIRST_PERIOD, 1, 0, 1, "--from", METER)
    error = fail("contract", "send", grid.contract, "metering", *again, *grid.rpc)
    told = f"AlreadyRecorded(meter={METER}, period={FIRST_PERIOD})"
    assert error == f"the contract refused: {told}"
    error = fail("contract", "call", grid.contract, "metering", "tariff", 99, *grid.rpc)
    assert error.endswith("execution reverted: index out of bounds (0x32)")
