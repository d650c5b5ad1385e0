"""What a node keeps an eye on each second: who is away, whether it is stuck, whether it is ready.

What is wrong is said in the log in the very words of `wattledger node status`, once it has lasted,
again now and then, and when it is over. Not here: the words (`status`), what a candidate sends
(`readiness`).
"""

import time
from typing import TYPE_CHECKING

from node.absence import Absence
from node.readiness import Readiness

if TYPE_CHECKING:
    from node.node import Node

LASTS_S = 5.0
"""What is over sooner is not worth a line: a peer that reconnects, a round that was lost."""
AGAIN_S_MIN = 60.0
AGAIN_S_MAX = 3_600.0
"""Said again after a minute, then after twice as long each time: lines wear a card, too."""


class Watch:
    """Ticks with its node."""

    def __init__(self, node: "Node", private_key: bytes) -> None:
        self._node = node
        self._readiness = Readiness(node, private_key)
        self.absence = Absence()
        self._wrong_since: float | None = None
        self._said_at: float | None = None
        self._again_s = AGAIN_S_MIN

    def tick(self) -> None:
        """Once a second."""
        node = self._node
        self.absence.note(node.chain.validators, {node.address, *node.network.peers})
        self._readiness.tick()
        self._tell()

    def _tell(self) -> None:
        node, now = self._node, time.monotonic()
        if not self._may_be_wrong():
            if self._said_at is not None:
                node.log.info("network", node.explain()["explanation"])
            self._wrong_since = self._said_at = None
            self._again_s = AGAIN_S_MIN
            return
        self._wrong_since = self._wrong_since or now
        lasted = now - self._wrong_since >= LASTS_S
        if lasted and (self._said_at is None or now - self._said_at >= self._again_s):
            told = node.explain()
            if not told["well"]:
                if self._said_at is not None:
                    self._again_s = min(2 * self._again_s, AGAIN_S_MAX)
                self._said_at = now
                node.log.warn("network", told["explanation"])

    def _may_be_wrong(self) -> bool:
        """Cheap: whether the whole explanation is worth making."""
        node = self._node
        trouble = node.interpreter.trouble is not None
        return trouble or bool(self.absence.since_s) or node.engine.status().round > 0
