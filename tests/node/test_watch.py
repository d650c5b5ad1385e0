"""How often a node says what is wrong: once it lasts, ever less often, and when it is over."""

from types import SimpleNamespace
from typing import Any

import pytest

from node import watch
from node.watch import Watch


class Rig:
    """A node of which only what the watch looks at is there, and a clock that is turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.lines = 0.0, []
        monkeypatch.setattr(watch.time, "monotonic", lambda: self.now)
        self.missing = False
        log = SimpleNamespace(
            warn=lambda room, words: self.lines.append((self.now, "warn")),
            info=lambda room, words: self.lines.append((self.now, "info")),
        )
        self.node: Any = SimpleNamespace(
            address=b"a",
            chain=SimpleNamespace(validators=(b"a", b"b")),
            network=SimpleNamespace(peers={b"b": None}),
            interpreter=SimpleNamespace(trouble=None),
            engine=SimpleNamespace(status=lambda: SimpleNamespace(round=0)),
            explain=lambda: {"well": not self.missing, "explanation": "words"},
            log=log,
        )
        self.watch = Watch(self.node, bytes(32))
        monkeypatch.setattr(self.watch, "_readiness", SimpleNamespace(tick=lambda: None))

    def go(self, seconds: int, missing: bool) -> None:
        self.missing = missing
        self.node.network.peers = {} if missing else {b"b": None}
        for _ in range(seconds):
            self.now += 1
            self.watch.tick()


def test_a_short_absence_is_not_worth_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    for _ in range(20):
        rig.go(4, True)
        rig.go(3, False)
    assert rig.lines == []


def test_a_long_one_is_said_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.go(86_400, True)
    assert [at for at, _ in rig.lines[:5]] == [6, 66, 186, 426, 906]
    assert 24 <= len(rig.lines) < 34
    rig.go(10, False)
    assert rig.lines[-1] == (86_401, "info")
    rig.go(10, True)
    assert rig.lines[-1] == (86_416, "warn")
