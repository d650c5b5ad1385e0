"""`wattledger node doctor`: what an operator would look at first, looked at, with what to do.

Findings only; nothing is changed but a small file that is written, synced and removed to time the
disk. Not here: what wallets and libraries expect of JSON-RPC (`client_checks`), the words of a
stall (`explanation`).
"""

import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from node.client import Client, ClientError
from node.client_checks import check_clients
from node.config import Config
from node.explanation import say_duration
from node.findings import Finding, Level

PEER_TIMEOUT_S = 3.0
CLOCK_WARN_MS = 2_000
"""Far above what NTP leaves; blocks are refused where it passes drift_s, 10 s by default."""
FREE_WARN_BYTES = 1_000_000_000
FREE_FAIL_BYTES = 100_000_000
SYNCS = 16
SYNC_BYTES = 4_096
SYNC_WARN_MS = 50.0
"""A block costs two syncs: above it a second is full of waiting; an SD card takes 5 to 20 ms."""
SYNC_FAIL_MS = 500.0
MEMORY_WARN_BYTES = 100_000_000
WEAR_UPTIME_S_MIN = 600
CARD_OVERWRITES = 500
"""How often a whole cheap card can be written; good ones take 3,000."""
WRITE_AMPLIFICATION = 4
"""What a card writes inside for each byte it is given, in small pieces."""
WEAR_WARN_YEARS = 5.0


def examine(url: str, config: Config | None) -> list[Finding]:
    """Everything that can be seen from here; without `config` only what JSON-RPC tells."""
    findings: list[Finding] = []
    with closing(Client(url, timeout_s=PEER_TIMEOUT_S)) as client:
        try:
            status, offset_ms = ask_status(client)
        except ClientError as error:
            advice = "see: systemctl status wattledger-node, journalctl -u wattledger-node"
            findings.append(Finding("fail", "node", str(error), advice))
        else:
            findings.append(check_status(status))
            peers = ask_peers(config)
            findings += check_peers(status, offset_ms, peers)
            findings += check_clients(client)
    if config is not None:
        findings += [check_space(config.data), check_speed(config.data)]
        findings.append(check_wear(url, config.data))
    findings.append(check_memory(Path("/proc/meminfo")))
    return findings


def ask_status(client: Client) -> tuple[dict[str, Any], int]:
    """A node's status, and by how many ms its clock is ahead of this machine's."""
    began = time.time()
    status = client.call("wattledger_status")
    ended = time.time()
    return status, int(status.get("timeMs", 0) - (began + ended) / 2 * 1_000)


def ask_peers(config: Config | None) -> dict[str, tuple[dict[str, Any], int] | str]:
    """By name, the status of the other nodes in the network file, or why there is none."""
    answers: dict[str, tuple[dict[str, Any], int] | str] = {}
    for name, url in _peer_urls(config):
        with closing(Client(url, timeout_s=PEER_TIMEOUT_S)) as client:
            try:
                answers[name] = ask_status(client)
            except ClientError as error:
                answers[name] = str(error)
    return answers


def check_status(status: dict[str, Any]) -> Finding:
    """What `node status` says."""
    level: Level = "ok" if status.get("well") else "warn"
    return Finding(level, "network", str(status.get("explanation", "")))


def check_peers(
    status: dict[str, Any], offset_ms: int, peers: dict[str, tuple[dict[str, Any], int] | str]
) -> Iterator[Finding]:
    """Clock and version of this node beside those of the others."""
    answered = {name: one for name, one in peers.items() if not isinstance(one, str)}
    if not answered:
        said = "no other node's JSON-RPC answers here, so clock and versions were not compared"
        yield Finding("warn" if peers else "ok", "peers", said)
        return
    median = statistics.median(offset for _, offset in answered.values())
    ahead_ms = offset_ms - median
    said = f"{abs(ahead_ms) / 1_000:.1f} s {'ahead of' if ahead_ms >= 0 else 'behind'} the others"
    if abs(ahead_ms) > CLOCK_WARN_MS:
        yield Finding("fail", "clock", said, "see: timedatectl; turn NTP on")
    else:
        yield Finding("ok", "clock", said)
    own = status.get("version")
    others = {name: one.get("version") for name, (one, _) in answered.items()}
    differing = [f"{name} {version}" for name, version in others.items() if version != own]
    if differing:
        said = f"this node has {own}, others: {', '.join(differing)}"
        yield Finding("warn", "versions", said, "upgrade one node after the other")
    else:
        said = f"the {len(answered)} of {len(peers)} other nodes that answer here have {own} too"
        yield Finding("ok", "versions", said)


def check_space(data: Path) -> Finding:
    """Room on the disk that holds the data."""
    free = shutil.disk_usage(data if data.exists() else data.parent).free
    said = f"{free / 1e9:.1f} GB free for {data}"
    if free < FREE_FAIL_BYTES:
        return Finding("fail", "disk space", said, "free some: a full disk stops signing")
    if free < FREE_WARN_BYTES:
        return Finding("warn", "disk space", said, "free some, or set store.bodies_days")
    return Finding("ok", "disk space", said)


def check_speed(data: Path) -> Finding:
    """How long a small synced write takes, in the middle of several."""
    path = data / "doctor.tmp"
    times_ms = []
    try:
        with path.open("wb") as file:
            for _ in range(SYNCS):
                began = time.perf_counter()
                file.write(bytes(SYNC_BYTES))
                file.flush()
                os.fsync(file.fileno())
                times_ms.append((time.perf_counter() - began) * 1_000)
    except OSError as error:
        return Finding("warn", "disk speed", f"{path} cannot be written: {error.strerror}",
                       "run the doctor as the node's user, with sudo -u wattledger")  # fmt: skip
    finally:
        path.unlink(missing_ok=True)
    median = statistics.median(times_ms)
    said = f"{median:.1f} ms for a synced write of {SYNC_BYTES} bytes, {max(times_ms):.1f} at worst"
    if median > SYNC_FAIL_MS:
        return Finding("fail", "disk speed", said, "the card is failing: replace it")
    if median > SYNC_WARN_MS:
        return Finding("warn", "disk speed", said, "use a faster card; blocks wait for it")
    return Finding("ok", "disk speed", said)


def check_wear(url: str, data: Path) -> Finding:
    """How long the card lasts at the rate at which the node has written since its start."""
    try:
        figures = read_figures(url)
        written = figures["wattledger_written_bytes_total"]
        uptime_s = time.time() - figures["wattledger_start_time_seconds"]
    except (OSError, KeyError, ValueError):
        return Finding("ok", "card wear", "not told: rpc.metrics is off, or nobody counts it here")
    if uptime_s < WEAR_UPTIME_S_MIN:
        said = f"too early to say, the node runs for {say_duration(int(uptime_s))}"
        return Finding("ok", "card wear", said)
    total = shutil.disk_usage(data).total
    return judge_wear(written / uptime_s * 86_400, total)


def judge_wear(bytes_per_day: float, card_bytes: int) -> Finding:
    """Years until a cheap card of this size is worn out."""
    worn_per_day = max(1.0, bytes_per_day * WRITE_AMPLIFICATION)
    years = card_bytes * CARD_OVERWRITES / worn_per_day / 365
    lasts = f"{years:.1f} years" if years < 100 else "over a century"
    said = (
        f"{bytes_per_day / 1e6:.0f} MB a day: a cheap card of {card_bytes / 1e9:.0f} GB lasts "
        f"some {lasts}"
    )
    if years < WEAR_WARN_YEARS:
        advice = "raise block_period_ms, store.flush_blocks and flush_seconds, or use an SSD"
        return Finding("warn", "card wear", said, advice)
    return Finding("ok", "card wear", said)


def check_memory(meminfo: Path) -> Finding:
    """What is left of this machine's memory."""
    try:
        lines = meminfo.read_text().splitlines()
        available = next(int(one.split()[1]) for one in lines if one.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return Finding("ok", "memory", "not told by this system")
    said = f"{available / 1_000:.0f} MB available"
    if available * 1_000 < MEMORY_WARN_BYTES:
        return Finding("warn", "memory", said, "stop what else runs here; a node takes some 100 MB")
    return Finding("ok", "memory", said)


def read_figures(url: str) -> dict[str, float]:
    """GET /metrics: the figures without labels."""
    import urllib.request

    with urllib.request.urlopen(url.rstrip("/") + "/metrics", timeout=PEER_TIMEOUT_S) as answer:
        text = answer.read(1_000_000).decode()
    pairs = [line.split() for line in text.splitlines() if line and line[0] != "#"]
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2 and "{" not in pair[0]}


def _peer_urls(config: Config | None) -> list[tuple[str, str]]:
    """Name and JSON-RPC of the other nodes that the network file tells of."""
    if config is None:
        return []
    peers = json.loads(config.network.read_bytes()).get("peers", [])
    return [
        (str(one.get("name") or one.get("address")), str(one["rpc"]))
        for one in peers
        if "rpc" in one and one.get("name") != config.name
    ]
