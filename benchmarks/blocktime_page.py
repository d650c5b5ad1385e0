"""The tables and the plot of docs/block-time.md, and the README's short table, made of what was
measured.

The plot needs the extra `bench` (`pip install -e .[bench]`); without it the table alone is written,
and that is said.
"""

import math
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGE = DOCS / "block-time.md"
PLOT = DOCS / "block-time.png"
BEGIN, END = "<!-- blocktime -->", "<!-- /blocktime -->"
PUBLISHED = {2: (9.0, 12.0), 3: (5.0, 7.0), 4: (3.0, 4.2)}
"""Peers -> seconds a block, percent of a Pi 3B+'s CPU with Geth."""


def write_page(result: dict[str, Any], machine: dict[str, Any]) -> None:
    """Put tables between the markers of the page and of the README, and the plot beside it."""
    try:
        draw(result)
    except ImportError:
        print("matplotlib is not here (pip install -e .[bench]): the plot is as it was")
    plot = f"![Block time against peers]({PLOT.name})\n\n" if PLOT.exists() else ""
    put(PAGE, f"{plot}{make_tables(result, machine)}")
    put(README, make_short_table(result))


def put(page: Path, text: str) -> None:
    """Between the markers of a page."""
    head, _, rest = page.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def make_short_table(result: dict[str, Any]) -> str:
    """The published Table 2 beside ours, at its pace of one miner in 18 s; Markdown."""
    scale = 18.0 / (result["difficulty"] / result["hashes_per_s"])
    voted = {one["peers"]: one for one in result["voted"]}
    lines = [
        "| peers | published: a block, CPU | proof of work here: a block, CPU | D/H "
        "| QBFT here: final after, CPU at a transaction an hour |",
        "|---|---|---|---|---|",
    ]
    for one in result["mined"]:
        peers = one["peers"]
        seconds, cpu = PUBLISHED.get(peers, (None, None))
        vote = voted.get(peers)
        final = f"{vote['send_to_final_ms']} ms, {vote['hourly_cpu_percent']} %" if vote else ""
        lines.append(
            f"| {peers} | {f'{seconds:g} s, {cpu:g} %' if seconds else ''} "
            f"| {one['mean_s'] * scale:.1f} ± {one['error_s'] * scale:.1f} s, "
            f"{one['node_cpu_percent'] + one['miner_cpu_percent']:.1f} % "
            f"| {18.0 / peers:.1f} s "
            f"| {final} |"
        )
    return "\n".join(lines)


def make_tables(result: dict[str, Any], machine: dict[str, Any]) -> str:
    """Markdown."""
    scale = 18.0 / (result["difficulty"] / result["hashes_per_s"])
    lines = [
        f"Proof of work, real processes, D = {result['difficulty']:,}, each miner held to "
        f"{result['hashes_per_s']:,} hashes a second:",
        "",
        f"| peers | blocks | D/H | mean block time | at 18 s for one miner (x {scale:g}) | "
        "published | deviation / mean | distance to the exponential law (refuted above) | stale "
        "| CPU a peer: node, miner | published |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in result["mined"]:
        published = PUBLISHED.get(one["peers"])
        seconds, cpu = published if published else ("", "")
        lines.append(
            f"| {one['peers']} | {one['blocks']} | {one['expected_s']} s "
            f"| {one['mean_s']} ± {one['error_s']} s | {one['mean_s'] * scale:.1f} s "
            f"| {f'{seconds:g} s' if published else ''} | {one['deviation_to_mean']} "
            f"| {one['distance']} ({one['distance_max']}) | {one['stale_percent']} % "
            f"| {one['node_cpu_percent']} %, {one['miner_cpu_percent']} % "
            f"| {f'{cpu:g} %' if published else ''} |"
        )
    lines += [
        "",
        "QBFT, real processes, all on this one machine:",
        "",
        "| validators | send to final | CPU a node: at rest, a transaction an hour, 100 a second |",
        "|---|---|---|",
    ]
    lines += [
        f"| {one['peers']} | {one['send_to_final_ms']} ms | {one['rest_cpu_percent']} %, "
        f"{one['hourly_cpu_percent']} %, {one['load_cpu_percent']} % ({one['sent_per_s']} sent) |"
        for one in result["voted"]
    ]
    lines += [
        "",
        "In simulated time, with a Pi's speeds and Wi-Fi between them (assumed: see "
        "`benchmarks/blocktime_simulated.py`):",
        "",
        "| peers | proof of work: D/H, mean, stale | QBFT: send to final at the last node |",
        "|---|---|---|",
    ]
    voted = {one["peers"]: one["send_to_final_ms"] for one in result["voted_simulated"]}
    lines += [
        f"| {one['peers']} | {one['expected_s']} s, {one['mean_s']} s, {one['stale_percent']} % "
        f"| {voted[one['peers']]} ms |"
        for one in result["mined_simulated"]
    ]
    lines += [
        "",
        f"Taken on {machine['cores']} cores of {machine['cpu']}, {machine['system']}, "
        f"Python {machine['python']}, {machine['date']}, by `python -m benchmarks blocktime`.",
    ]
    return "\n".join(lines)


def draw(result: dict[str, Any]) -> None:
    """Block time against peers, and the distribution beside the exponential law."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    scale = 18.0 / (result["difficulty"] / result["hashes_per_s"])
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), constrained_layout=True)
    mined = result["mined"]
    left.errorbar(
        [one["peers"] for one in mined], [one["mean_s"] * scale for one in mined],
        [one["error_s"] * scale for one in mined], fmt="o", label=f"proof of work, x {scale:g}",
    )  # fmt: skip
    simulated = result["mined_simulated"]
    peers = [one["peers"] for one in simulated]
    left.plot(peers, [one["mean_s"] for one in simulated], "s", mfc="none", label="simulated Pis")
    left.plot(peers, [18.0 / count for count in peers], "-", lw=1, label="D / H")
    left.plot(list(PUBLISHED), [one[0] for one in PUBLISHED.values()], "kx", label="published")
    voted = result["voted"]
    left.plot(
        [one["peers"] for one in voted], [one["send_to_final_ms"] / 1_000 for one in voted], "^",
        label="QBFT, send to final",
    )  # fmt: skip
    voted = result["voted_simulated"]
    left.plot(
        [one["peers"] for one in voted], [one["send_to_final_ms"] / 1_000 for one in voted], "v",
        mfc="none", label="QBFT, simulated Pis",
    )  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel="peers", ylabel="seconds")
    left.legend(fontsize=8)
    intervals = sorted(one / count["mean_s"] for count in mined for one in count["intervals_s"])
    shares = [(index + 1) / len(intervals) for index in range(len(intervals))]
    right.step(intervals, shares, where="post", label=f"{len(intervals)} intervals, all runs")
    law = [index / 20 for index in range(121)]
    right.plot(law, [1 - math.exp(-x) for x in law], "--", label="exponential law")
    right.set(xlim=(0, 6), xlabel="time between two blocks / mean", ylabel="share of intervals")
    right.legend(fontsize=8)
    figure.savefig(PLOT, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
