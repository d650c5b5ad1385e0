"""The table of the README: what was measured, beside the budget and, where there is one, a peer."""

from typing import Any

Row = tuple[str, str, str]


def make_table(results: dict[str, Any]) -> str:
    """Markdown. A benchmark that has not been run is left out."""
    makers = {
        "stages": _stages,
        "throughput": _throughput,
        "latency": _latency,
        "footprint": _footprint,
        "startup": _startup,
        "contracts": _contracts,
        "gas": _gas,
        "isolation": _isolation,
        "engine": _engine,
        "sync": _sync,
        "traffic": _traffic,
        "blocktime": _blocktime,
        "sustained": _sustained,
    }
    rows: list[Row] = []
    for name, make in makers.items():
        if name in results:
            rows += make(results[name]["result"])
    lines = ["| what | measured | budget |", "|---|---|---|"]
    lines += [f"| {what} | {measured} | {budget} |" for what, measured, budget in rows]
    machines = {_machine(one["machine"]) for one in results.values()}
    lines.append("")
    lines += [f"Taken on {machine}." for machine in sorted(machines)]
    return "\n".join(lines)


def _machine(machine: dict[str, Any]) -> str:
    return (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['system']}, "
        f"Python {machine['python']}, {machine['date']}"
    )


def _engine(result: list[dict[str, Any]]) -> list[Row]:
    what = "a message taken in by the QBFT engine, without its signature"
    said = ", ".join(
        f"{one['by_event_us']['Received']['median']} us with {one['validators']} validators"
        for one in result
    )
    largest = result[-1]
    kind, dearest = max(largest["by_event_us"].items(), key=lambda item: item[1]["median"])
    return [
        (what, said, "100 us"),
        (f"the dearest step of that engine, a `{kind}` with {largest['validators']} validators",
         f"{dearest['median']} us", "100 us"),
    ]  # fmt: skip


def _blocktime(result: dict[str, Any]) -> list[Row]:
    mined = ", ".join(
        f"{one['mean_s']} s (D/H {one['expected_s']})"
        for one in result["mined"]
        if one["peers"] in (2, 3, 4)
    )
    voted = ", ".join(
        f"{one['send_to_final_ms']} ms" for one in result["voted"] if one["peers"] in (1, 4, 13)
    )
    return [
        ("proof of work, a block with 2, 3, 4 miners", mined, ""),
        ("QBFT, send to final with 1, 4, 13 validators", voted, ""),
    ]


def _stages(result: list[dict[str, Any]]) -> list[Row]:
    rows = []
    for one in result:
        parts = ", ".join(f"{stage} {us:.0f}" for stage, us in one["us"].items())
        filled = f", {one['slots']:,} slots filled" if one["slots"] else ""
        rows.append(
            (f"CPU of a `{one['kind']}` without JSON-RPC{filled}",
             f"{one['total_us']:.0f} us ({parts})", "")
        )  # fmt: skip
    return rows


def _throughput(result: dict[str, Any]) -> list[Row]:
    rows = []
    for name in ("one node", "anvil", "four nodes"):
        one = result[name]
        what = f"`setDebt` through JSON-RPC, {name}"
        if isinstance(one, str):
            rows.append((what, one, ""))
            continue
        budget = "200 us of CPU" if name == "one node" else ""
        cpu = one["cpu_us_per_transaction_and_node"]
        rows.append((what, f"{one['per_second']:,.0f} a second, {cpu:.0f} us of CPU", budget))
    if "ratio to anvil" in result:
        measured = f"{result['ratio to anvil']} x"
        if "ratios" in result:
            low, high = min(result["ratios"]), max(result["ratios"])
            measured += (
                f" its rate (rounds: {low} to {high}), {result['cpu ratio to anvil']} x its CPU"
            )
        rows.append(("one node beside anvil, in turns", measured, "1 x; at least 0.5 x"))
    return rows


def _latency(result: dict[str, Any]) -> list[Row]:
    measured = f"p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms"
    return [("send to final, four validators, idle chain", measured, "p50 50 ms")]


def _footprint(result: dict[str, Any]) -> list[Row]:
    node = result["node"]
    rows = [
        ("memory of a node after a day of 100 meters",
         f"{node['memory_after_day_mb']} MB (empty {node['memory_empty_mb']} MB)", "80 MB"),
        ("CPU of an idle node", f"{node['idle_cpu_percent']} %", "0.5 %"),
    ]  # fmt: skip
    for disk in result["disk"]:
        budget = 600 if disk["block_of"] > 1 else 2_000
        rows.append(
            (f"stored for a `record`, blocks of {disk['block_of']}",
             f"{disk['stored_bytes']:,} bytes", f"{budget:,} bytes")
        )  # fmt: skip
        rows.append(
            (f"written to disk for a `record`, blocks of {disk['block_of']}",
             f"{disk['written_per_stored']} x stored", "3 x" if disk["block_of"] > 1 else "")
        )  # fmt: skip
    return rows


def _startup(result: dict[str, Any]) -> list[Row]:
    return [(f"start with {result['blocks']:,} blocks", f"{result['seconds']} s", "2 s")]


def _contracts(result: dict[str, Any]) -> list[Row]:
    call, compiled = result["set_debt"], result["compile"]["slowest"]
    loops = ", ".join(f"{name} {factor}" for name, factor in result["loops_factor"].items())
    spent = ", ".join(f"{what} {ns}" for what, ns in result["out_of_gas_ns_per_gas"].items())
    return [
        ("`setDebt` inside the runtime, no trie",
         f"{call['us']} us, {call['factor']} x plain Python", "40 us"),
        ("integer loops, times plain Python", loops, "2.5 x"),
        ("check and compile 300 lines, the slowest standard contract",
         f"{compiled['ms_for_300_lines']} ms, {compiled['factor']} x plain Python", "30 ms"),
        ("24,000,000 gas until there is none, ns per gas", spent, ""),
    ]  # fmt: skip


def _gas(result: dict[str, Any]) -> list[Row]:
    return [
        ("the worst operation of a contract, per gas",
         f"{result['worst_ns_per_gas']} ns ({result['worst']}), "
         f"{result['worst_to_median']} x the median", f"{result['worst_to_median_max']} x"),
        ("the same of words on the disk",
         f"{result['disk_ns_per_gas']} ns ({result['disk'].removesuffix(', disk')}), "
         f"{result['disk_to_median']} x the median", f"{result['worst_to_median_max']} x"),
        ("a full block of it on a Raspberry Pi, eight times slower",
         f"{result['full_block_on_a_pi_ms']:,} ms", f"{result['full_block_ms_max']:,} ms"),
    ]  # fmt: skip


def _isolation(result: list[dict[str, Any]]) -> list[Row]:
    return [
        (f"`{one['kind']}` executed behind the second wall",
         f"{one['in_worker_us']:.0f} us, {one['ratio']} x in the node ({one['in_node_us']:.0f} us)",
         "")
        for one in result
    ]  # fmt: skip


def _sync(result: dict[str, Any]) -> list[Row]:
    bodies, joined = result["bodies"], result["snapshot"]
    headers = joined["headers"]
    return [
        (f"headers checked by a newcomer, {headers['signatures_each']} signatures each",
         f"{headers['per_second']:,} a second; with each certificate "
         f"{headers['per_second_every_certificate']:,}", "2,000 a second"),
        (f"blocks of {bodies['transactions_each']} imported from peers",
         f"{bodies['ratio']} x the rate of a node's own", "0.8 x"),
        (f"an empty node joins a chain of {joined['blocks']:,} blocks by a snapshot",
         f"{joined['seconds_until_joined']} s, {joined['cpu_seconds']} s of CPU; voted in "
         f"{joined['seconds_until_validator']} s later", "60 s"),
    ]  # fmt: skip


def _traffic(result: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    for one in result:
        block, alone = one["blocks_of_50"], one["one_at_a_time"]
        size, name = block["bytes_of_a_transaction"], "bytes_received_per_transaction_and_node"
        rows.append(
            (f"received by each of {one['nodes']} nodes for a transaction of {size} bytes",
             f"{block[name]:,} bytes in blocks of 50, {alone[name]:,} alone", "")
        )  # fmt: skip
    return rows


def _sustained(result: dict[str, Any]) -> list[Row]:
    minutes = round(result["seconds"] / 60)
    memory = f"{max(result['memory_mb'])} MB at the end"
    if result["memory_kb_per_minute"] is not None:
        memory += f", {result['memory_kb_per_minute']} kB more each minute at most"
    return [
        (f"`{result['kind']}` through four validators for {minutes} minutes",
         f"{result['per_second']:,} a second; a node takes {memory}",
         "1,000 a second, no growth")
    ]  # fmt: skip
