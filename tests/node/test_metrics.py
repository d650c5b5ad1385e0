"""GET /metrics in Prometheus' format, and the log as JSON."""

import json
import time
import urllib.request
from io import StringIO
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from ledger.crypto.address import to_checksum
from node.log import Log

SERIES_MAX = 200


def read_metrics(url: str) -> dict[str, dict[str, float]]:
    """name -> label -> value, read by Prometheus' own parser."""
    with urllib.request.urlopen(url + "/metrics", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})["|".join(sample.labels.values())] = sample.value
    return found


def test_prometheus_reads_the_figures_of_a_node(one_node: Any) -> None:
    deadline = time.monotonic() + 30
    while not (found := read_metrics(one_node.url()))["wattledger_well"][""]:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    node = one_node.nodes[0]
    assert found["wattledger_head_height"][""] == node.chain.head.number
    assert found["wattledger_well"][""] == 1
    assert found["wattledger_signs"][""] == 1
    assert found["wattledger_validators"][""] == 1
    assert found["wattledger_store_bytes"][""] > 10_000
    assert found["wattledger_resident_memory_bytes"][""] > 10_000_000
    address = to_checksum(node.address)
    assert found["wattledger_validator_reached"] == {address: 1.0}
    assert sum(map(len, found.values())) < SERIES_MAX


def test_other_paths_greet_as_before(one_node: Any) -> None:
    with urllib.request.urlopen(one_node.url() + "/", timeout=60) as answer:
        assert b"Wattledger node" in answer.read()


def test_a_log_of_objects_is_read_line_by_line() -> None:
    stream = StringIO()
    log = Log("info", stream, as_json=True)
    log.info("chain", 'a "quoted"\nline', height=12, hash=b"\x01" * 32, why=ValueError("no"))
    log.warn("peers", "gone", ok=True, time="mine")
    log.debug("peers", "unsaid")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info", "room": "chain", "message": 'a "quoted"\nline', "height": 12,
        "hash": "0x0101010101010101..", "why": "no",
    }  # fmt: skip
    assert (second["level"], second["ok"], second["time_"]) == ("warn", True, "mine")
