"""Who connects to the peers' port and says nothing is let go.

aiohttp's server alone keeps such connections for ever, however many there are, until this process
may open no more files: no peer, no client is let in then. Not here: the handshake (`connection`).
"""

import asyncio
from typing import Any

from aiohttp import web

SILENT_MAX = 64
"""Connections that have asked for nothing yet. A peer asks at once, so the oldest makes room."""
SILENT_S = 10.0


class PeerServer(web.Server):
    """aiohttp's server with bounds on the connections before their first request."""

    def __init__(self, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._silent: dict[Any, asyncio.TimerHandle] = {}

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._silent) >= SILENT_MAX:
            oldest = next(iter(self._silent))
            self.note_request(oldest)
            if oldest.transport is not None:
                oldest.transport.abort()
        loop = asyncio.get_running_loop()
        self._silent[handler] = loop.call_later(SILENT_S, transport.abort)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self.note_request(handler)
        super().connection_lost(handler, exc)

    def note_request(self, handler: Any) -> None:
        """This one is silent no longer."""
        timer = self._silent.pop(handler, None)
        if timer is not None:
            timer.cancel()
