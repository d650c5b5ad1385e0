"""How a node stands, in JSON and in plain words: who is missing, which round, when the next try is.

Pure reading of a running node; nothing here changes it.
"""

import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ledger.crypto.address import to_checksum
from ledger.types import Address

if TYPE_CHECKING:
    from node.node import Node


def package_version() -> str:
    try:
        return version("wattledger")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"


def describe_sync(node: "Node") -> dict[str, Any] | None:
    """eth_syncing's object while catching up; None once there."""
    if not node.sync.is_behind:
        return None
    head = node.chain.head.number
    return {
        "startingBlock": hex(head),
        "currentBlock": hex(head),
        "highestBlock": hex(node.sync.best_height()),
    }


def describe_peers(node: "Node") -> list[dict[str, Any]]:
    """admin_peers: the connections of this moment."""
    return [
        {
            "id": to_checksum(peer.address),
            "name": peer.name,
            "caps": [f"wattledger/{peer.version}"],
            "network": {"remoteAddress": peer.endpoint, "inbound": not peer.dialed},
            "head": hex(peer.head_height),
            "headHash": "0x" + peer.head_hash.hex(),
            "connectedSeconds": int(time.monotonic() - peer.connected_at),
            "droppedFrames": peer.dropped_frames,
            "isValidator": peer.address in node.chain.validators,
            **node.network.scores.describe(peer.address),
        }
        for peer in node.network.peers.values()
    ]


def describe_node(node: "Node") -> dict[str, Any]:
    """admin_nodeInfo: who this node is and where it listens."""
    config = node.config
    return {
        "id": to_checksum(node.address),
        "name": config.name,
        "version": package_version(),
        "listenAddr": f"{config.peers_host}:{config.peers_port}",
        "ports": {"listener": config.peers_port, "rpc": config.rpc_port},
        "isValidator": node.address in node.chain.validators,
        "chainId": node.chain.genesis.chain_id,
        "network": node.chain.genesis.name,
        "genesis": "0x" + node.chain.genesis_hash.hex(),
        "uptimeSeconds": int(time.time() - node.started_at_s),
    }


def explain(node: "Node", at_ms: int) -> dict[str, Any]:
    """wattledger_status: the figures, and `explanation`, sentences for a person."""
    chain, sync = node.chain, node.sync
    told = node.engine.explain(at_ms)
    names = {endpoint.address: endpoint.name for endpoint in node.endpoints}
    connected = [node.address, *node.network.peers]
    missing = [one for one in told.missing if one not in connected or node.pool.size]
    trouble = node.interpreter.trouble or told.trouble
    return {
        "network": chain.genesis.name,
        "chainId": chain.genesis.chain_id,
        "head": chain.head.number,
        "headHash": "0x" + chain.head.hash.hex(),
        "headAgeSeconds": max(0, int(time.time()) - chain.head.timestamp),
        "catchingUp": sync.is_behind,
        "bestPeerHead": sync.best_height(),
        "round": told.round,
        "proposer": _name(told.proposer, names),
        "validators": [_name(one, names) for one in chain.validators],
        "connected": [_name(one, names) for one in connected],
        "notConnected": [_name(one, names) for one in chain.validators if one not in connected],
        "waitingFor": [_name(one, names) for one in missing],
        "quorum": told.quorum,
        "nextTryMs": told.next_try_ms,
        "waitingTransactions": node.pool.size,
        "trouble": trouble,
        "evidence": node.interpreter.evidence.describe(),
        "explanation": " ".join(_sentences(node, told, names, trouble)),
    }


def _sentences(
    node: "Node", told: Any, names: dict[Address, str], trouble: str | None
) -> list[str]:
    """What a person wants to know first, most pressing first."""
    head = node.chain.head.number
    said: list[str] = []
    if trouble is not None:
        said.append(f"This node does not sign: {trouble}.")
    if node.sync.is_behind:
        said.append(f"It is catching up: block {head} of {node.sync.best_height()}.")
    connected = {node.address, *node.network.peers}
    away = [one for one in node.chain.validators if one not in connected]
    reachable = len(node.chain.validators) - len(away)
    if reachable < told.quorum:
        said.append(
            f"No block can be made: {told.quorum} of {len(node.chain.validators)} validators are "
            f"needed and {reachable} can be reached from here; "
            f"missing are {_list(away, names)}."
        )
    elif away:
        said.append(f"Not reachable from here: {_list(away, names)}; enough others are.")
    if node.pool.size and (told.round > 0 or reachable < told.quorum):
        wait = "" if told.next_try_ms is None else f", next try in {told.next_try_ms / 1000:.1f} s"
        said.append(
            f"Block {told.height} is in round {told.round} (proposer "
            f"{_name(told.proposer, names)}){wait}; not heard in this round: "
            f"{_list(told.missing, names)}."
        )
    waiting = node.pool.size
    if not said and not waiting:
        said.append(f"All is well: block {head} is the head and nothing waits.")
    elif not said and node.has_work():
        said.append(f"All is well: waiting for block {head + 1}: {waiting} {_noun(waiting)}.")
    elif not said:
        said.append(
            f"All is well: block {head} is the head. Waiting for the nonce before theirs: "
            f"{waiting} {_noun(waiting)}."
        )
    return said + _accusations(node, names)


def _accusations(node: "Node", names: dict[Address, str]) -> list[str]:
    """What is known against those who validate now."""
    shelf = node.interpreter.evidence
    return [
        f"{_name(author, names)} {shelf.say(author)}: its key is in use on two machines, or it "
        "lies; its operator should look, and the network may vote it out."
        for author in node.chain.validators
        if shelf.say(author)
    ]


def _noun(count: int) -> str:
    return "transaction" if count == 1 else "transactions"


def _list(members: Any, names: dict[Address, str]) -> str:
    return ", ".join(_name(one, names) for one in members) or "nobody"


def _name(member: Address, names: dict[Address, str]) -> str:
    """A node's name from the network file and its address."""
    name = names.get(member)
    return f"{name} ({to_checksum(member)})" if name else to_checksum(member)
