"""Typing commands: `run` is the whole program in this process, `type_in` one that asks."""

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from click.testing import CliRunner

from node.main import cli, main


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Done:
    """What `wattledger ARGUMENTS` prints and ends with. An exception that it lets out comes out."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(one) for one in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> str:
    """The output of a command that works."""
    done = run(*arguments)
    assert (done.code, done.err) == (0, ""), done
    return done.out


def fail(*arguments: object) -> str:
    """The one line of error of a command that does not work."""
    done = run(*arguments)
    assert done.code == 1, done
    lines = done.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.err
    return lines[0].removeprefix("error: ")


def misuse(*arguments: object) -> str:
    """What is said of a command line that cannot be meant; exit code 2, as everywhere."""
    done = run(*arguments)
    assert done.code == 2, done
    return done.err.splitlines()[-1]


def type_in(typed: str, *arguments: object) -> str:
    """The output of a command that asks for what is typed."""
    done = CliRunner().invoke(cli, [str(one) for one in arguments], input=typed)
    assert done.exit_code == 0, done.output
    return done.output
