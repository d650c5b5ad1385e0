"""What the corpora of other tests are made of: no contract is left out."""

import ast

from tests.contract.sources import FOLDERS, LIBRARY, ROOT, list_contracts


def test_every_standard_contract_is_listed_whatever_it_is_built_on() -> None:
    """Wattcoin is a Token, which is a Contract only two files away."""
    listed = {path.stem for path in list_contracts()}
    standard = {path.stem for path in (ROOT / "contracts_py").glob("*.py")} - {"__init__"}
    assert standard < listed and {"wattcoin", "usage", "ledger_twin", "neighbour"} < listed
    assert {path.stem for path in list_contracts(LIBRARY)} == {
        "ownable", "pausable", "roles", "token"
    }  # fmt: skip


def test_every_file_that_is_listed_declares_a_contract() -> None:
    for path in list_contracts(*FOLDERS, LIBRARY):
        classes = [each for each in ast.parse(path.read_bytes()).body if type(each) is ast.ClassDef]
        bases = {getattr(base, "id", "") for each in classes for base in each.bases}
        assert bases & {"Contract", "Token"}, path
