"""The contracts that corpora are made of: the standard ones, those that tests keep, the bases.

A file is a contract's if it imports from `ledger.contract` as sources do, whatever its bases are.
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("contracts_py", "tests/contract/twins")
LIBRARY = "ledger/contract/standard"
IMPORT = b"\nfrom ledger.contract import "


def list_contracts(*folders: str) -> list[Path]:
    """The files of contracts below some folders of the checkout; below FOLDERS if none is given."""
    found = [path for folder in folders or FOLDERS for path in sorted((ROOT / folder).glob("*.py"))]
    return [path for path in found if IMPORT in b"\n" + path.read_bytes()]
