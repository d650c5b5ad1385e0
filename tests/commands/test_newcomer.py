"""The path of a newcomer, as the page on contracts tells it, run on a devnet of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.terminal import fail, run
from tests.devnets import run_devnet
from tests.docs.pages import DOCS, block_with

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "newcomer.sh"


def test_the_page_shows_the_script_that_is_tested() -> None:
    assert block_with(DOCS / "contracts.md", "sh", "wattledger contract new") == SCRIPT.read_text()


@pytest.mark.timeout(400)
def test_from_an_empty_folder_to_an_upgraded_contract(tmp_path: Path) -> None:
    with run_devnet(tmp_path / "devnet") as devnet:
        folder = tmp_path / "work"
        folder.mkdir()
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", SCRIPT.read_text()], cwd=folder, capture_output=True,
            text=True, check=False,
            env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path),
                 "WATTLEDGER_RPC": devnet.url, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout.splitlines()
        assert said[-1] == "5"
        assert "5" in said[: len(said) - 1]
        assert any("it may replace what stands there" in line for line in said)
        assert any("start_anew" in line for line in said)
        (jar,) = {word for line in said for word in line.split() if len(word) == 42}
        check_refusals(folder, jar, devnet.url)


def check_refusals(folder: Path, jar: str, url: str) -> None:
    """An upgrade that cannot be says why, and what would help."""
    owner = ("--from", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "--rpc", url)
    at = ("contract", "upgrade", jar)
    assert "is the source that stands there already" in fail(*at, folder / "jar_2.py", *owner)
    assert "would misread the storage: largest" in fail(*at, folder / "jar.py", *owner)
    done = run("contract", "diff", jar, folder / "jar.py", "--rpc", url)
    assert done.code == 1 and "-    _largest: uint256" in done.out
    third = folder / "jar_3.py"
    third.write_text((folder / "jar_2.py").read_text().replace("so far", "ever"))
    error = fail(*at, third, *owner)
    assert error.startswith("the upgrade was refused: NotAllowed(")
    assert f"wattledger network propose upgrade {jar} {third} --from" in error
