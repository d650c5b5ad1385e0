"""The meter as a process: a real pseudo-terminal, kill -9 at random, and what strace sees."""

import asyncio
import contextlib
import csv
import gzip
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from meter import daemon
from meter.errors import ConfigError, KeyFileError, OutboxError, SourceError
from meter.feeder import Board, main, parse_options
from tests.conftest import shared_path
from tests.meter.fake_chain import Chain, Node
from tests.meter.rigs import write_config

FRANCE = "household_minute_france.csv.gz"
RUN = "import asyncio, sys; from meter.daemon import run; asyncio.run(run(sys.argv[1]))"
START = 1_767_225_600  # 2026-01-01


def with_node(story: Callable[[Chain, Node], Awaitable[None]]) -> Chain:
    """Run a story beside a fake node."""
    chain = Chain()

    async def main() -> None:
        node = await Node(chain).start()
        try:
            await story(chain, node)
        finally:
            await node.stop()

    asyncio.run(main())
    return chain


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def start(*command: str, **options: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, *command, **options)


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


def write_csv(file: Path, rows: list[str]) -> Path:
    file.write_text("start,w\n" + "\n".join(rows) + "\n")
    return file


def hours(count: int) -> list[str]:
    """Half hours of rising power, as Unix seconds and watts."""
    return [f"{START + half * 1_800},{(half % 50) * 20}" for half in range(2 * count)]


REPLAY = {
    "source": "replay",
    "time_column": "start",
    "power_column": "w",
    "longest_gap_s": 1_800,
    "speed": 0,
}


# Ends and errors.


def test_a_replay_ends_when_all_of_it_is_on_chain(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", hours(50))

    async def story(chain: Chain, node: Node) -> None:
        watts = {**REPLAY, "file": str(file)}
        meters = [watts, {**watts, "power_unit": "kW", "power_max_w": 1_000_000}]
        top = 'status_file = "status.json"'
        config = write_config(tmp_path, *meters, urls=[node.url], top=top)
        await asyncio.wait_for(daemon.run(config, asyncio.Event()), 30)
        assert len(chain.records) == 100
        await asyncio.wait_for(daemon.run(config, asyncio.Event()), 30)  # nothing is left to do
        assert len(chain.records) == 100 and chain.reverted == 0
        status = json.loads((tmp_path / "status.json").read_text())
        assert [one["on_chain"] for one in status] == [50, 50]
        assert status[1]["faults"] == {}

    with_node(story)


def test_lines_on_standard_input_end_with_it(tmp_path: Path) -> None:
    async def story(chain: Chain, node: Node) -> None:
        meter = {"source": "stdin", "fields": ["p"], "power_column": "p"}
        top = f"[clock]\nstart = {START}\ntick_s = 1800\n"
        config = write_config(tmp_path, meter, urls=[node.url], top=top, simulated=True)
        process = await start("-c", RUN, str(config), stdin=subprocess.PIPE)
        await asyncio.wait_for(process.communicate(b"\n".join([b"1000"] * 7) + b"\nNaN\n500"), 30)
        assert process.returncode == 0
        expected = [(1_000, 0, 1)] * 3 + [(500, 0, 16), (250, 0, 16)]
        assert list(chain.records.values()) == expected

    with_node(story)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"file": "none.csv"}, SourceError),
        ({"file": "other.csv"}, SourceError),
        ({"key_file": "none.key"}, KeyFileError),
        ({"colour": 1}, ConfigError),
    ],
)
def test_what_a_person_must_mend_ends_the_process_by_name(
    tmp_path: Path, change: dict[str, Any], error: type[Exception]
) -> None:
    write_csv(tmp_path / "a.csv", hours(1))
    (tmp_path / "other.csv").write_text("time;power\n1;2\n")
    config = write_config(tmp_path, {**REPLAY, "file": "a.csv", **change})
    with pytest.raises(error):
        asyncio.run(asyncio.wait_for(daemon.run(config, asyncio.Event()), 10))


def test_a_damaged_file_gives_what_came_before_and_says_so(tmp_path: Path) -> None:
    whole = gzip.compress(b"start,w\n" + "\n".join(hours(2_000)).encode())
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])

    async def story(chain: Chain, node: Node) -> None:
        config = write_config(tmp_path, {**REPLAY, "file": "a.csv.gz"}, urls=[node.url])
        with pytest.raises(SourceError, match="damaged after row"):
            await asyncio.wait_for(daemon.run(config, asyncio.Event()), 30)
        assert len(chain.records) > 100 and chain.reverted == 0

    with_node(story)


def test_an_outbox_serves_one_key_only(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", hours(1))

    async def story(chain: Chain, node: Node) -> None:
        config = write_config(tmp_path, {**REPLAY, "file": "a.csv"}, urls=[node.url])
        await asyncio.wait_for(daemon.run(config, asyncio.Event()), 30)
        (tmp_path / "m1.key").write_text("0x" + "77" * 32)
        with pytest.raises(OutboxError, match="another key"):
            await asyncio.wait_for(daemon.run(config, asyncio.Event()), 30)

    with_node(story)


# The serial port.


def test_a_missing_port_is_named_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = tmp_path / "ttyNONE"
    meter = {"source": "serial", "port": str(port), "fields": ["p"], "power_column": "p"}

    async def story(chain: Chain, node: Node) -> None:
        top = f"[clock]\nstart = {START}\ntick_s = 3600\n"
        config = write_config(tmp_path, meter, urls=[node.url], top=top, simulated=True)
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.run(config, stop))
        await until(lambda: "does not exist" in caplog.text)
        board = Board(port)  # it appears
        try:
            await asyncio.to_thread(board.wait_for_reader)
            for _ in range(3):
                await asyncio.to_thread(board.write, b"500.0\r\n")
            await until(lambda: len(chain.records) == 2)
        finally:
            board.close()
            stop.set()
            await running

    chain = with_node(story)
    assert list(chain.records.values()) == [(500, 0, 1)] * 2
    assert str(port) in caplog.text and "is the board connected" in caplog.text


def test_a_busy_port_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import serial

    board = Board(tmp_path / "port")
    holder = serial.Serial(board.path, exclusive=True)
    meter = {"source": "serial", "port": board.path, "fields": ["p"], "power_column": "p"}
    config = write_config(tmp_path, meter)

    async def story() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.run(config, stop))
        await until(lambda: "in use by another program" in caplog.text)
        stop.set()
        await running

    try:
        asyncio.run(story())
    finally:
        holder.close()
        board.close()
    assert "fuser" in caplog.text


def test_a_forbidden_port_names_group_and_command(tmp_path: Path) -> None:
    from meter.serial_port import explain

    file = tmp_path / "tty"
    file.touch()
    text = explain(str(file), PermissionError(13, "Permission denied", str(file)))
    assert f"no permission to read port {file}" in text
    assert "sudo usermod -aG" in text


def test_the_french_house_through_a_real_pseudo_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three days in which the house was not measured, by an emulated board in its own process."""
    with gzip.open(shared_path("data", FRANCE), "rt") as text:
        rows = [row for row in csv.DictReader(text) if row["minute_start_local"] >= "2007-04-28"]
    rows = rows[: 3 * 24 * 60]
    lines = [f"{index},{row['active_w']}" for index, row in enumerate(rows)]
    file, link = write_csv(tmp_path / "house.csv", lines), tmp_path / "board"
    meter = {
        "source": "serial",
        "port": str(link),
        "board": "RPICT7V1",
        "channel": 3,
        "node_id": 11,
    }

    async def story(chain: Chain, node: Node) -> None:
        top = f"[clock]\nstart = {START}\ntick_s = 60\n"
        config = write_config(tmp_path, meter, urls=[node.url], top=top, simulated=True)
        feeder = await start(
            *("-m", "meter.feeder", "--csv", str(file), "--column", "w", "--channel", "3"),
            *("--link", str(link)),
            stdout=subprocess.DEVNULL,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.run(config, stop))
        try:
            await until(lambda: len(chain.records) == 11)
        finally:
            stop.set()
            await running
            await end(feeder)
        assert not link.is_symlink()

    chain = with_node(story)
    watts = [int(row["active_w"]) for row in rows if row["active_w"]]
    assert len(watts) == 3 * 24 * 60 - 3_723
    assert sum(values[0] for values in chain.records.values()) == sum(watts) // 60
    assert sorted(period - START // 3_600 for _, period in chain.records) == [0, *range(62, 72)]
    qualities = [values[2] for _, values in sorted(chain.records.items())]
    assert qualities == [16, 16] + [1] * 9
    assert chain.reverted == 0


def test_two_meters_share_a_port_that_is_a_socket(tmp_path: Path) -> None:
    """Any URL of pyserial is a port, and each channel is a meter with a key of its own."""

    async def story(chain: Chain, node: Node) -> None:
        async def board(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while len(chain.records) < 4:  # pyserial drops what came before it was open
                writer.write(b"11 500.0 -200.0 0.0 0.0 0.0 0.0 231.0\r\n")
                await asyncio.sleep(0.05)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            gone.set()

        gone = asyncio.Event()
        server = await asyncio.start_server(board, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        meter = {"source": "serial", "port": f"socket://{host}:{port}", "board": "RPICT3V1"}
        top = f"[clock]\nstart = {START}\ntick_s = 3600\n"
        config = write_config(
            *(tmp_path, {**meter, "channel": 1}, {**meter, "channel": 2}),
            urls=[node.url],
            top=top,
            simulated=True,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.run(config, stop))
        await until(lambda: len(chain.records) >= 4)
        stop.set()
        await running
        await gone.wait()
        server.close()
        await server.wait_closed()

    chain = with_node(story)
    first, second = (Account.from_key(n.to_bytes(32)).address.lower() for n in (1, 2))
    assert {value for (key, _), value in chain.records.items() if key == first} == {(500, 0, 1)}
    assert {value for (key, _), value in chain.records.items() if key == second} == {(0, 200, 1)}


def test_a_reader_that_goes_away_finds_the_board_waiting(tmp_path: Path) -> None:
    import serial

    board, gone = Board(tmp_path / "port"), threading.Event()

    def read(count: int) -> list[bytes]:
        with serial.Serial(board.path, timeout=60) as port:
            return [port.readline() for _ in range(count)]

    def feed() -> None:
        board.wait_for_reader()
        for number in range(3):
            board.write(f"11 {number}\r\n".encode())
        gone.wait(60)
        board.write(b"11 3\r\n")

    feeding = threading.Thread(target=feed)
    feeding.start()
    assert read(3) == [b"11 0\r\n", b"11 1\r\n", b"11 2\r\n"]
    gone.set()
    time.sleep(0.2)
    assert read(1) == [b"11 3\r\n"]
    feeding.join(60)
    assert not feeding.is_alive()
    board.close()


def test_the_feeder_turns_energy_into_mean_power(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from meter.feeder import make_lines

    file = tmp_path / "uk.csv"
    file.write_text("start,value,i\n0,0.028999999999999998,6.23\n1,,\n2,0.113,6.91\n")
    common = ["--csv", str(file), "--board", "RPICT3V1"]
    options = parse_options(
        [*common, "--column", "value", "--unit", "kWh", "--interval-s", "1800", "--rows", "2"]
    )
    assert list(make_lines(options)) == [
        "11 58.0 0.0 0.0 0.0 0.0 0.0 0.0\r\n",
        "11 NaN 0.0 0.0 0.0 0.0 0.0 0.0\r\n",
        "11 NaN 0.0 0.0 0.0 0.0 0.0 0.0\r\n",
    ]
    options = parse_options([*common, "--current-column", "i", "--channel", "2"])
    assert next(make_lines(options)) == "11 0.0 0.0 0.0 0.0 6230.0 0.0 0.0\r\n"
    assert main([*common, "--column", "none"]) == 1
    assert "no column 'none'" in capsys.readouterr().err


# kill -9.


def count_house(file: Path) -> tuple[int, int]:
    """Watt minutes and hours with a reading, by a few lines of their own."""
    with gzip.open(file, "rt") as text:
        rows = [row for row in csv.DictReader(text) if row["active_w"]]
    return (
        sum(int(row["active_w"]) for row in rows),
        len({row["minute_start_local"][:13] for row in rows}),
    )


def test_kill_9_at_random_neither_loses_nor_doubles_an_hour(tmp_path: Path) -> None:
    house = shared_path("data", FRANCE)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    meter = {
        "source": "replay",
        "file": str(house),
        "time_column": "minute_start_local",
        "power_column": "active_w",
        "speed": 25_000,  # the four weeks in a minute and a half: long after the last kill
        "batch_max": 30,
        "resend_s": 1,
    }

    async def story(chain: Chain, node: Node) -> None:
        config = write_config(tmp_path, meter, urls=[node.url])
        wal = tmp_path / "meter-data" / "m1.sqlite-wal"
        for kill in range(9):
            node.down = kill in (3, 4)  # and cut from its node for a while
            node.swallow_replies = kill % 2
            written = wal.stat().st_mtime_ns if wal.exists() else 0
            recorded = len(chain.records)
            process = await start("-c", RUN, str(config), stderr=subprocess.DEVNULL)
            await until(lambda old=written: wal.exists() and wal.stat().st_mtime_ns != old)
            if kill % 2 == 0 and not node.down:  # every other one in the midst of sending
                await until(lambda old=recorded: len(chain.records) > old)
            await asyncio.sleep(chance.uniform(0, 0.6))
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert 0 < len(chain.records) < 611  # the kills came in the middle of it
        node.down = False
        config.write_text(config.read_text().replace("speed = 25000", "speed = 0"))
        process = await start("-c", RUN, str(config), stderr=subprocess.DEVNULL)
        assert await asyncio.wait_for(process.wait(), 150) == 0

    chain = with_node(story)
    watt_minutes, measured_hours = count_house(house)
    assert chain.reverted == 0
    assert len(chain.records) == measured_hours == 611
    assert sum(values[0] for values in chain.records.values()) == watt_minutes // 60 == 475_882
    assert {sender for sender, _ in chain.records} == {
        Account.from_key((1).to_bytes(32)).address.lower()
    }


# strace.


def test_what_is_sent_was_synced_to_disk_before(tmp_path: Path) -> None:
    """kill -9 keeps the page cache; a power cut does not. So: stored, synced, then sent."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace may not trace here")
    write_csv(tmp_path / "a.csv", hours(3))
    trace = tmp_path / "trace"

    async def story(chain: Chain, node: Node) -> None:
        config = write_config(tmp_path, {**REPLAY, "file": "a.csv"}, urls=[node.url])
        process = await asyncio.create_subprocess_exec(
            *("strace", "-f", "-y", "-xx", "-s", "100000", "-o", str(trace)),
            *("-e", "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg"),
            *(sys.executable, "-c", RUN, str(config)),
            stderr=subprocess.DEVNULL,
        )
        assert await asyncio.wait_for(process.wait(), 150) == 0

    chain = with_node(story)
    (raw,) = set(chain.sent)
    calls = [
        (match[1], match[2], bytes.fromhex(match[3].replace("\\x", "")) if match[3] else b"")
        for match in re.finditer(
            r'^\d+ +(\w+)\(\d+<([^>]*)>(?:, "((?:\\x..)*)")?.*', trace.read_text(), re.MULTILINE
        )
    ]
    stored = next(
        index for index, (name, _, data) in enumerate(calls) if name == "pwrite64" and raw in data
    )
    sent = next(index for index, (*_, data) in enumerate(calls) if raw.hex().encode() in data)
    path = bytes.fromhex(calls[stored][1].replace("\\x", "")).decode()
    assert path == str(tmp_path / "meter-data" / "m1.sqlite-wal")
    synced = [
        index
        for index, (name, file, _) in enumerate(calls)
        if name in ("fsync", "fdatasync") and file == calls[stored][1] and stored < index < sent
    ]
    assert synced, "the outbox entry was not synced between being stored and being sent"


def test_the_process_stops_on_sigterm_and_keeps_what_it_counted(tmp_path: Path) -> None:
    board = Board(tmp_path / "port")
    meter = {"source": "serial", "port": board.path, "fields": ["p"], "power_column": "p"}

    async def story(chain: Chain, node: Node) -> None:
        top = f"[clock]\nstart = {START}\ntick_s = 1800\n"
        config = write_config(tmp_path, meter, urls=[node.url], top=top, simulated=True)
        process = await start("-c", RUN, str(config), stderr=subprocess.PIPE)
        await asyncio.to_thread(board.wait_for_reader)
        await asyncio.to_thread(board.write, b"1000.0\r\n1000.0\r\n1000.0\r\n1000.0\r\n")
        await until(lambda: len(chain.records) == 1)
        await asyncio.sleep(0.6)
        process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
        assert b"Traceback" not in errors
        again = await start("-c", RUN, str(config), stderr=subprocess.DEVNULL)
        await asyncio.to_thread(board.wait_for_reader)
        await asyncio.to_thread(board.write, b"1000.0\r\n")
        await until(lambda: len(chain.records) == 2)
        await end(again)

    chain = with_node(story)
    board.close()
    assert list(chain.records.values()) == [(1_000, 0, 1)] * 2


def test_nothing_of_a_key_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_csv(tmp_path / "a.csv", hours(2))
    caplog.set_level(logging.DEBUG)

    async def story(chain: Chain, node: Node) -> None:
        config = write_config(tmp_path, {**REPLAY, "file": "a.csv"}, urls=[node.url])
        await asyncio.wait_for(daemon.run(config, asyncio.Event()), 30)

    with_node(story)
    assert (1).to_bytes(32).hex() not in caplog.text
    assert os.environ.get("HOME", "/nonexistent") not in caplog.text
