"""Nodes of one network find each other on a local network by multicast DNS (zeroconf).

A node announces `_wattledger._tcp.local.` with its port, its node address and the genesis hash, and
hears the others'. What is heard is only a hint where to dial: nodes of another network are passed
over, the rest is for `network` to check. When this machine's own addresses change, a router having
handed out new ones, all begins anew. Source: RFC 6762, RFC 6763.
"""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ledger.types import Address, Hash32
from node.log import Log

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

SERVICE = "_wattledger._tcp.local."
RESOLVE_MS = 3_000
RESOLVING_MAX = 16
"""Names looked up at once; who floods a local network with names costs no more."""
LOOK_S = 30.0
"""Between two looks at this machine's own addresses."""
PLACES_MAX = 4
"""Addresses of one announcement that are taken."""

Learn = Callable[[Address, str, int], None]


class Discovery:
    """Announces this node and tells `learn` of others: node address, host, port."""

    def __init__(
        self, genesis_hash: Hash32, own: Address, port: int, learn: Learn, log: Log
    ) -> None:
        self._genesis = genesis_hash.hex().encode()
        self._own = own
        self._port = port
        self._learn = learn
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None

    async def run(self) -> None:
        """Announce and listen until cancelled, on whatever addresses this machine has."""
        try:
            while True:
                hosts = find_own_hosts()
                try:
                    await self._start(hosts)
                except OSError as error:  # no network yet, or multicast is not allowed
                    self._log.seldom("peers", "cannot look for nodes nearby", why=error)
                while find_own_hosts() == hosts:
                    await asyncio.sleep(LOOK_S)
                await self._stop()
        finally:
            await self._stop()

    async def _start(self, hosts: list[str]) -> None:
        # Only who wants it pays for it: 5 MB of memory.
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

        self._zeroconf = AsyncZeroconf(interfaces=hosts)
        info = AsyncServiceInfo(
            SERVICE,
            f"{self._own.hex()}.{SERVICE}",
            addresses=[ipaddress.ip_address(host).packed for host in hosts],
            port=self._port,
            properties={b"node": self._own.hex().encode(), b"genesis": self._genesis},
            server=f"wattledger-{self._own.hex()}.local.",
        )
        await self._zeroconf.async_register_service(info, cooperating_responders=True)
        self._browser = AsyncServiceBrowser(
            self._zeroconf.zeroconf, [SERVICE], handlers=[self._hear]
        )

    async def _stop(self) -> None:
        browser, self._browser = self._browser, None
        if browser is not None:
            await browser.async_cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            await zeroconf.async_close()

    def _hear(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        """A name was announced, changed or withdrawn."""
        if state_change.name == "Removed" or len(self._tasks) >= RESOLVING_MAX:
            return
        task = asyncio.ensure_future(self._resolve(zeroconf, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, zeroconf: Any, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE, name)
        if await info.async_request(zeroconf, RESOLVE_MS):
            self.take(info.properties, info.parsed_addresses(), info.port)

    def take(self, properties: dict[bytes, Any], hosts: list[str], port: int | None) -> None:
        """Pass on what an announcement says, if it is of our network and of somebody else."""
        try:
            node = bytes.fromhex((properties.get(b"node") or b"").decode())
        except ValueError:
            return  # not one of ours
        if properties.get(b"genesis") == self._genesis and len(node) == 20 and node != self._own:
            for host in hosts[:PLACES_MAX] if port else ():
                self._learn(node, host, int(port or 0))


def find_own_hosts() -> list[str]:
    """The IPv4 addresses of this machine; the loopback's only where there is no other."""
    import ifaddr

    every = [one for adapter in ifaddr.get_adapters() for one in adapter.ips if one.is_IPv4]
    return sorted({str(one.ip) for one in every} - {"127.0.0.1"}) or ["127.0.0.1"]
