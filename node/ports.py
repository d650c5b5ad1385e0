"""Ports of this machine for a network that is set up on it. Not here: who listens on them."""

import secrets
import socket
from collections import deque

from node.errors import NodeError

HOST = "127.0.0.1"
PORTS_FROM, PORTS_TO = 10_000, 32_000
"""Below the ports that systems give to outgoing connections (Linux's begin at 32,768): one of those
could take a port between our looking and a node's listening."""
ATTEMPTS = 200
GIVEN_KEPT = 2_000
_given: deque[int] = deque(maxlen=GIVEN_KEPT)
"""Lately, by this process: whoever asked may not listen yet, and gets no port of another's."""


def free_ports(count: int) -> list[int]:
    """So many consecutive ports of 127.0.0.1 that are free, each given once. Raises NodeError."""
    for _ in range(ATTEMPTS):
        first = PORTS_FROM + secrets.randbelow(PORTS_TO - PORTS_FROM - count)
        ports = range(first, first + count)
        if not set(ports).isdisjoint(_given):
            continue
        opened = []
        try:
            for port in ports:
                one = socket.socket()
                opened.append(one)
                one.bind((HOST, port))
        except OSError:
            continue
        finally:
            for one in opened:
                one.close()
        _given.extend(ports)
        return list(ports)
    raise NodeError(f"no {count} free ports in a row on {HOST}")
