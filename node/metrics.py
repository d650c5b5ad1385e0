"""Figures of a running node for Prometheus, at GET /metrics of the JSON-RPC port.

Read when they are asked for; nothing is counted on the way of a transaction. Labels have few
values: validators (at most 100) by address, never peers' names or accounts. Not here: words
(`explanation`). Source: prometheus.io/docs/concepts/data_model, the official Python client.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ledger.crypto.address import to_checksum
from node.status import package_version

if TYPE_CHECKING:
    from node.node import Node

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PAGE_BYTES = 4_096


class Metrics:
    """A collector over one node: `render` gives the page."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' client asks of a collector."""
        yield from self._collect_chain()
        yield from self._collect_consensus()
        yield from self._collect_machine()

    def _collect_chain(self) -> Iterator[Metric]:
        node, head = self._node, self._node.chain.head
        yield _gauge("head_height", "Height of the newest block here.", head.number)
        age = max(0.0, time.time() - head.timestamp)
        yield _gauge("head_age_seconds", "Since the newest block was proposed.", age)
        yield _gauge("best_peer_height", "Highest head of all peers.", node.sync.best_height())
        yield _gauge("catching_up", "1 while blocks are fetched.", node.sync.is_behind)
        yield _gauge("waiting_transactions", "Transactions in the pool.", node.pool.size)
        yield _gauge("store_bytes", "Size of the chain's file and log.", _store_bytes(node))

    def _collect_consensus(self) -> Iterator[Metric]:
        node = self._node
        told = node.explain()
        yield _gauge("well", "1 while an operator has nothing to look at.", told["well"])
        yield _gauge("round", "Round of the block being decided.", told["round"])
        yield _gauge("quorum", "Votes that a block needs.", told["quorum"])
        yield _gauge("validators", "Validators of the next block.", len(node.chain.validators))
        yield _gauge("peers", "Connections with other nodes.", len(node.network.peers))
        yield _gauge("signs", "1 while nothing keeps this node from voting.", not told["trouble"])
        yield _gauge("evidence", "Validators caught signing two things.", len(told["evidence"]))
        reached = GaugeMetricFamily(
            "wattledger_validator_reached", "1 while connected.", labels=["validator"]
        )
        present = {node.address, *node.network.peers}
        for member in node.chain.validators:
            reached.add_metric([to_checksum(member)], float(member in present))
        yield reached

    def _collect_machine(self) -> Iterator[Metric]:
        node = self._node
        info = GaugeMetricFamily("wattledger_build_info", "Always 1.", labels=["version"])
        info.add_metric([package_version()], 1.0)
        yield info
        yield _gauge("start_time_seconds", "When this node was started.", node.started_at_s)
        resident, written = read_resident_bytes(), read_written_bytes()
        if resident is not None:
            yield _gauge("resident_memory_bytes", "Memory of this process.", resident)
        if written is not None:
            yield CounterMetricFamily(
                "wattledger_written_bytes", "Written to disk since the start: wears an SD card.",
                value=float(written),
            )  # fmt: skip


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"wattledger_{name}", help_text, value=float(value))


def _store_bytes(node: "Node") -> int:
    return node.chain.store.size_bytes()


def read_resident_bytes() -> int | None:
    """Memory of this process; None where there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None  # not Linux


def read_written_bytes() -> int | None:
    """What this process caused to be written to a disk; None where nobody counts it."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
    except (OSError, ValueError, StopIteration):
        return None
