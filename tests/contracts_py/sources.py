"""Where the standard contracts' sources are: in the installed package, as the node reads them."""

from importlib import resources


def read_contract(name: str) -> bytes:
    return (resources.files("contracts_py") / f"{name}.py").read_bytes()
