"""The configuration file: strict, and every error names file, key and what was expected."""

import json
import logging
import re
from decimal import Decimal
from pathlib import Path

import pytest

from ledger.crypto.address import address_of
from ledger.crypto.keystore import encrypt_key
from meter import quality
from meter.checks import CHECKS
from meter.config import load_config
from meter.errors import ConfigError, KeyFileError
from meter.faults import KINDS
from meter.keys import load_key, warn_if_readable_by_others
from meter.settings import METER, SECTIONS, settings_documentation
from tests.meter.rigs import write_config

SERIAL = {"source": "serial", "port": "/dev/ttyAMA0", "board": "RPICT3V1"}
REPLAY = {"source": "replay", "file": "a.csv", "time_column": "t", "power_column": "w"}


def test_a_plain_file_is_enough(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, SERIAL, REPLAY))
    serial, replay = config.meters
    assert serial.lines is not None and serial.lines.names[0] == "node"
    assert serial.measure.power_column == "p1" and serial.counter.longest_gap_ms == 60_000
    assert replay.replay is not None and replay.replay.file == tmp_path / "a.csv"
    assert config.state_dir == tmp_path / "meter-data"


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        ({"prot": "x"}, "meter m1: prot", "did you mean port?"),
        ({"ssid": "x"}, "meter m1: ssid", "one of"),
        ({"baud": "fast"}, "meter m1: baud", "an integer"),
        ({"baud": True}, "meter m1: baud", "an integer"),
        ({"baud": 1}, "meter m1: baud", "at least 50"),
        ({"source": "usb"}, "meter m1: source", "one of 'serial', 'replay', 'stdin'"),
        ({"kind": "watts"}, "meter m1: kind", "one of"),
        ({"board": "RPICT9"}, "meter m1: board", "one of"),
        ({"fields": ["p1"]}, "meter m1: board", "either"),
        ({"board": "", "fields": ["p1"], "node_id": 3}, "meter m1: node_id", '"node"'),
        ({"port": ""}, "meter m1: port", "a serial port"),
        ({"channel": 4}, "meter m1: column 'p4'", "one of the line's fields"),
        ({"contract": "0x12"}, "meter m1: contract", ""),
        ({"nodes": ["ftp://x"]}, "meter m1: nodes", "http://"),
        ({"nodes": []}, "meter m1: nodes", "at least one URL"),
        ({"genesis_hash": "0x12"}, "meter m1: genesis_hash", "64 hex digits"),
        ({"name": "a b"}, "meter a b: name", "letters"),
        ({"current_column": "i1"}, "meter m1: voltage_column", "nominal_voltage_v"),
        ({"power_column": "p1", "voltage_column": "v"}, "meter m1: voltage_column", "no such"),
        ({"kind": "interval"}, "meter m1: import_column", "the column"),
        ({"kind": "interval", "import_column": "p1"}, "meter m1: interval_s", "the length"),
        ({"net": True}, "meter m1: net", "kind interval"),
        ({"period_seconds": 0}, "meter m1: period_seconds", "at least 1"),
        ({"chain_id": 0}, "meter m1: chain_id", "a chain id"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, change: dict[str, object], key: str, expected: str
) -> None:
    file = write_config(tmp_path, {**SERIAL, **change})
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.file == file
    assert caught.value.key == key
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"file": ""}, "file"),
        ({"time_column": ""}, "time_column"),
        ({"delimiter": ";;"}, "delimiter"),
        ({"where": "home"}, "where"),
        ({"time_label": "end"}, "interval_s"),
    ],
)
def test_what_is_wrong_with_a_replay_is_named(
    tmp_path: Path, change: dict[str, object], key: str
) -> None:
    with pytest.raises(ConfigError, match=key):
        load_config(write_config(tmp_path, {**REPLAY, **change}))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("x = [", "file"),
        ("", "meter"),
        ("meter = 3", "meter"),
        ("colour = 1\n[[meter]]", "colour"),
        ('[defaults]\ncolour = 1\n[[meter]]\nname = "a"', "defaults.colour"),
        ('network = "none.json"\n[[meter]]', "network"),
        ('state_dir = 3\n[[meter]]\nname = "a"', "state_dir"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "meter.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.key == key


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")


def test_two_meters_share_neither_name_nor_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"meter\.name"):
        load_config(write_config(tmp_path, {**SERIAL, "name": "a"}, {**SERIAL, "name": "a"}))
    key = str(tmp_path / "m1.key")
    with pytest.raises(ConfigError, match=r"meter\.key_file"):
        load_config(write_config(tmp_path, SERIAL, {**SERIAL, "key_file": key}))
    with pytest.raises(ConfigError, match=r"meter\.baud"):
        load_config(write_config(tmp_path, SERIAL, {**SERIAL, "baud": 9_600}))


def test_a_tick_needs_a_gap_as_long(tmp_path: Path) -> None:
    top = "[clock]\nstart = 1767225600\ntick_s = 1800"
    config = load_config(write_config(tmp_path, SERIAL, top=top, simulated=True))
    assert config.meters[0].counter.longest_gap_ms == 1_800_000
    with pytest.raises(ConfigError, match="longest_gap_s"):
        gap = {**SERIAL, "longest_gap_s": 60}
        load_config(write_config(tmp_path, gap, top=top, simulated=True))


def test_every_setting_is_documented_with_its_default() -> None:
    text = settings_documentation()
    for settings in SECTIONS.values():
        for one in settings:
            assert f"| `{one.name}` |" in text
            assert one.help in text
            assert one.kind in CHECKS, one.name
    assert "| `baud` | integer | `38400` |" in text
    assert len({one.name for one in METER}) == len(METER)


def test_no_default_is_a_float() -> None:
    for settings in SECTIONS.values():
        assert not any(isinstance(one.default, float) for one in settings)
    assert isinstance(next(o.default for o in METER if o.name == "nominal_voltage_v"), Decimal)


# Keys.

PRIVATE = bytes(range(1, 33))


def test_a_key_is_hex_or_a_keystore(tmp_path: Path) -> None:
    plain = tmp_path / "plain.key"
    plain.write_text(f"0x{PRIVATE.hex()}\n")
    assert load_key(plain, None) == PRIVATE
    store, password = tmp_path / "store.json", tmp_path / "password"
    made = encrypt_key(
        PRIVATE, "correct", salt=b"s" * 32, iv=b"i" * 16, uuid=b"u" * 16, n=1 << 10, r=1, p=1
    )
    store.write_text(json.dumps(made))
    password.write_text("correct\n")
    assert load_key(store, password) == PRIVATE
    password.write_text("wrong\n")
    with pytest.raises(KeyFileError, match="wrong password"):
        load_key(store, password)
    with pytest.raises(KeyFileError, match="password_file"):
        load_key(store, None)
    assert address_of(PRIVATE).hex() in store.read_text()


@pytest.mark.parametrize("text", ["", "0x12", "0x" + "00" * 32, "ff" * 32, "[1]", "{}", "hello"])
def test_what_is_no_key_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.key"
    file.write_text(text)
    (tmp_path / "password").write_text("secret")
    with pytest.raises(KeyFileError, match=r"bad\.key"):
        load_key(file, tmp_path / "password")
    with pytest.raises(KeyFileError, match="No such file"):
        load_key(tmp_path / "none", None)


def test_a_key_open_to_all_is_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "open.key"
    file.write_text("0x" + "01" * 32)
    file.chmod(0o400)
    warn_if_readable_by_others(file, logging.getLogger("test"))
    assert not caplog.records
    file.chmod(0o644)
    warn_if_readable_by_others(file, logging.getLogger("test"))
    assert "chmod 600" in caplog.text


# The documentation.


def test_the_documentation_has_every_setting_fault_and_quality_bit() -> None:
    text = (Path(__file__).parents[2] / "docs" / "meter.md").read_text()
    assert settings_documentation() in text
    for kind, meaning in KINDS.items():
        assert f"| `{kind}` | {meaning} |" in text
    assert quality.__doc__ is not None
    for line in quality.__doc__.splitlines():
        assert not line.startswith("|") or line in text


def test_every_fault_that_is_counted_is_documented() -> None:
    """`Faults.count` of an unknown kind would be a KeyError in the middle of the night."""
    folder = Path(__file__).parents[2] / "meter"
    used = set()
    for file in folder.glob("*.py"):
        used |= set(re.findall(r'(?:note|count|_Refused)\(\s*"(\w+)"', file.read_text()))
    assert len(used) > 15
    assert used <= set(KINDS)
