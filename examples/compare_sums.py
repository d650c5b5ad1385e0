"""Compare what a kept demo's CSV files hold with what its chain holds, through JSON-RPC alone.

    KEEP=kept make demo
    wattledger node run --config kept/network/node1/node.toml &
    python examples/compare_sums.py kept

Nothing of Wattledger is imported: urllib asks a node. The one contract
call is encoded by hand: the selector of usageOfMonth(address,uint32) and two words.
"""

import csv
import json
import sys
import urllib.request
from decimal import Decimal
from pathlib import Path

USAGE_OF_MONTH = "0xbf66bed8"
NOMINAL_V = 220


def ask(url: str, method: str, *params: object) -> object:
    """A node's answer; ends the program where there is none."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer = json.load(reply)
    except OSError as error:
        raise SystemExit(f"no node answers at {url} ({error}): start one as shown above") from error
    if "error" in answer:
        raise SystemExit(f"{method}: {answer['error']['message']}")
    return answer["result"]


def sum_of_file(household: dict[str, object]) -> int:
    """Watt-hours in the file the board replayed."""
    total = Decimal(0)
    with Path(str(household["readings"])).open(newline="") as text:
        for row in csv.DictReader(text):
            value = row[str(household["column"])]
            total += Decimal(value) if value else 0
    if household["column"] == "amperes":
        total *= NOMINAL_V
    return int(total * int(str(household["interval_s"])) / 3_600)


def sum_on_chain(url: str, contract: str, household: dict[str, object]) -> tuple[int, int]:
    """Watt-hours and records of the household's month."""
    year, month = map(int, str(household["month"]).split("-"))
    account = str(household["account"])[2:].lower().rjust(64, "0")
    data = USAGE_OF_MONTH + account + f"{12 * year + month - 1:064x}"
    answer = str(ask(url, "eth_call", {"to": contract, "data": data}, "latest"))[2:]
    return int(answer[:64], 16), int(answer[128:192], 16)


def main(folder: Path) -> int:
    """Print both sums of each household of a kept demo; 1 where any differ, else 0."""
    demo = json.loads((folder / "demo.json").read_text())
    url = demo["rpc"][0]
    print(f"{'household':<18}{'month':<10}{'file Wh':>12}{'chain Wh':>12}{'records':>9}")
    different = 0
    for household in demo["households"]:
        in_file = sum_of_file(household)
        on_chain, records = sum_on_chain(url, demo["contract"], household)
        different += in_file != on_chain
        print(
            f"{household['name']:<18}{household['month']:<10}{in_file:>12,}{on_chain:>12,}"
            f"{records:>9,}" + ("" if in_file == on_chain else "   DIFFERENT")
        )
    print("every sum is the same" if not different else f"{different} sums differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
