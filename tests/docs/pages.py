"""Reading what the README and docs/ say: blocks of code and rows of tables."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"


def code_blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, without the indent of a list they stand in."""
    blocks = []
    for indent, block in re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL
    ):
        blocks.append(re.sub(rf"^{indent}", "", block, flags=re.MULTILINE))
    return blocks


def block_with(page: Path, language: str, text: str) -> str:
    """The one block that has this text."""
    (block,) = [one for one in code_blocks(page, language) if text in one]
    return block


def table_rows(page: Path, first_column: str) -> list[list[str]]:
    """The cells of all tables whose first column has this name."""
    rows: list[list[str]] = []
    inside = False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not cells:
            inside = False
        elif inside and not set(cells[0]) <= {"-"}:
            rows.append(cells)
        elif cells[0] == first_column:
            inside = True
    return rows


def shell_commands(page: Path) -> list[str]:
    """Every call of wattledger in the shell blocks of a page, continued lines joined."""
    found = []
    for block in code_blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("sudo ")
            if line.startswith("wattledger "):
                found.append(line.rstrip(" &"))
    return found
