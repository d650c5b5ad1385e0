"""Spoilt sources: words swapped, lines moved, and pieces of Python that no contract may hold."""

import re

from tests.determinism.play import Pick

WORDS = re.compile(r"\w+|[^\w\s]|\n *")
HOSTILE = (
    "().__class__.__base__.__subclasses__()",
    "self.__dict__",
    "self.door__",
    "self.block.__class__",
    "(lambda: 0)()",
    "[x for x in ()]",
    "(yield)",
    "f'{self}'",
    "'{0.__class__}'.format(self)",
    "exec('1')",
    "eval('1')",
    "open('/etc/passwd')",
    "__import__('os')",
    "print(1)",
    "globals()",
    "1.5",
    "1e9",
    "2 ** -1",
    "10 ** 10 ** 8",
    "1 << 2**31",
    "1 / 2",
    "-1 // 0",
    "x is y",
    "*a",
    "b'x' * 2**31",
    "[0] * 2**31",
    "str(1)",
    "int('5')",
    "hash(1)",
    "id(self)",
    "type(self)",
    "getattr(self, 'x')",
    "self.emit",
    "self",
    "None",
    "...",
    "1j",
    "{}",
    "{1}",
    "{1: 2}",
    "a := 5",
    "not " * 60,
    "(" * 90,
    ")" * 3,
    "[" * 40,
    "- " * 200 + "1",
    "9" * 400,
    '"' * 3,
    "'",
    "\\",
    ";",
    "\n    import os\n",
    "\n        try:\n            pass\n        finally:\n            return\n",
    "\n        with self:\n            pass\n",
    "\n        while True:\n            pass\n",
    "\n        for i in range(2**63):\n            pass\n",
    "\n        del self\n",
    "\n    @view\n",
    "\n        async def f(): pass\n",
    "\n        class A: pass\n",
    "\n        global x\n",
    "\n\n\t",
    "\n        match self:\n            case object(__class__=c): pass\n",
    "\n    x: (y := 1)\n",
    "\n        assert False\n",
    "\n        raise\n",
    "\n        raise Exception\n",
    "@@",
    "\x00",
    "\r",
    "\u00e9",
    "\uff3f\uff3fclass\uff3f\uff3f",
    "# coding: utf-7\n",
    "\\N{DIGIT ONE}",
    "lambda",
    "super()",
    "self.__init__()",
    "self._",
    "Contract",
    "range(5)",
    "2**256",
    "2**255",
    "-(2**255)",
    "0x7f",
    "len(self)",
    "sorted([3, 1])",
    "self.call__('A', 'b', 1, (), 0, None)",
    "abi_decode(b'', uint256)",
    "self.msg.sender = ZERO_ADDRESS",
    "bytes(10**9)",
    "self.balance",
    "zip()",
    "sum([])",
    "max()",
)


def mutate(pick: Pick, source: str, other: str) -> str:
    """One to four changes; `other` gives words and lines too."""
    for _ in range(1 + pick(4)):
        words = WORDS.findall(source)
        spans = [match.span() for match in WORDS.finditer(source)]
        if not spans:
            return source
        start, end = spans[pick(len(spans))]
        kind = pick(8)
        if kind == 0:
            source = source[:start] + source[end:]
        elif kind <= 2:
            source = source[:start] + words[pick(len(words))] + source[end:]
        elif kind == 3:
            again = WORDS.findall(other)
            source = source[:start] + again[pick(len(again))] + source[end:]
        elif kind == 4:
            source = source[:start] + HOSTILE[pick(len(HOSTILE))] + source[end:]
        elif kind == 5:
            source = source[:end] + " " + HOSTILE[pick(len(HOSTILE))] + source[end:]
        else:
            source = move_line(pick, source, other if kind == 6 else source)
    return source


def move_line(pick: Pick, source: str, other: str) -> str:
    """A line or some of them from `other`, over or beside one of `source`."""
    lines, more = source.split("\n"), other.split("\n")
    at, start = pick(len(lines)), pick(len(more))
    lines[at : at + pick(3)] = more[start : start + 1 + pick(4)]
    return "\n".join(lines)
