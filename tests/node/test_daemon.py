"""What a node refuses before it opens anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.daemon import check_flags
from node.errors import NodeError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ((1, 0, []), "-O"),
        ((2, 0, []), "-O"),
        ((0, 2, []), "-bb"),
        ((0, 0, ["ignore", "error::SyntaxWarning"]), "-W error::SyntaxWarning"),
    ],
)
def test_flags_that_other_nodes_do_not_have_are_refused(flags, named):
    with pytest.raises(NodeError, match=named):
        check_flags(*flags)


def test_usual_flags_are_taken():
    usual = ["default", "ignore::DeprecationWarning"]
    check_flags(0, 1, usual)
    with pytest.raises(NodeError, match="-W error"):  # and it is by one more alone
        assert check_flags(0, 1, [*usual, "error"])


def test_a_node_says_so_in_one_line(tmp_path):
    """By the flag and by the environment, which a shell may have from elsewhere."""
    command = "from pathlib import Path; from node.daemon import run_node; import sys;"
    command += f" sys.exit(run_node(Path({str(tmp_path / 'none.toml')!r})))"
    for flag, variable in ((["-O"], {}), ([], {"PYTHONOPTIMIZE": "2"})):
        done = subprocess.run(
            [sys.executable, *flag, "-c", command],
            env={"PATH": os.environ["PATH"], **variable},
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith("error: Python was started with -O:")
        assert done.stderr.count("\n") == 1
