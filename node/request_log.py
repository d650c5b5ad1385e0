"""Where aiohttp's servers log: a stranger's mistake in a line said seldom, a fault of ours as one.

By itself aiohttp writes a traceback, with all that was sent, for each connection that is no HTTP or
is lost amid a request: anybody could fill a Pi's card with it. Not here: what is answered.
"""

import logging

from aiohttp.http_exceptions import HttpProcessingError

from node.log import Log


class RequestHandler(logging.Handler):
    """Turns aiohttp's records into lines of the node's log."""

    def __init__(self, log: Log, room: str) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._room = room

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            self._log.seldom(self._room, record.getMessage())
        elif isinstance(error, HttpProcessingError):
            self._log.seldom(self._room, "a request is no HTTP", error=type(error).__name__)
        elif isinstance(error, ConnectionError):
            self._log.seldom(self._room, "a connection was lost amid a request")
        else:
            self._log.bug(self._room, error)


def make_request_logger(log: Log, room: str) -> logging.Logger:
    """The logger that a server is given; it is in no registry and has no parent."""
    logger = logging.Logger(f"wattledger.{room}", logging.WARNING)
    logger.addHandler(RequestHandler(log, room))
    return logger
