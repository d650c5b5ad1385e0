"""The page of the stories: every table is there, from the command, with machine and date."""

import re

import pytest

from node.commands.demo import STORIES
from node.demo.stories.run import STORIES as PLAYED
from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "stories.md").read_text()


def test_the_command_knows_every_story() -> None:
    assert tuple(PLAYED) == STORIES


@pytest.mark.parametrize("story", STORIES)
def test_the_table_of_a_story_is_from_the_command(story: str) -> None:
    begin, end = f"<!-- {story}: from the command -->", f"<!-- {story}: so far -->"
    section = PAGE[PAGE.index(begin) : PAGE.index(end)]
    assert re.search(
        rf"^`wattledger demo --story {story}`, 20[-\d]+, \d+ cores.*, Python 3[\d.]+, \d+ s",
        section,
        re.MULTILINE,
    )
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert len(rows) > 5
    assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows[1:])
    assert f"\nwattledger demo --story {story}\n" in PAGE


def test_each_published_contract_has_its_paragraph() -> None:
    for heading in ("dapp", "Wattcoin", "microgrid", "channel", "auction", "Billing"):
        (section,) = [one for one in PAGE.split("\n## ") if heading in one.split("\n")[0]]
        assert "**Source**" in section
        assert "**What was open or\nunsafe" in section or "**What was open or unsafe" in section
    for named in re.findall(r"`((?:contracts_py|examples|node)/[\w/]+\.py)`", PAGE):
        assert (ROOT / named).exists()
