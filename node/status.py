"""How a node stands, in JSON and in plain words: who is missing, which round, when the next try is.

Pure reading of a running node; nothing here changes it.
"""

import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ledger.contract.rules import RULES_VERSION
from ledger.crypto.address import to_checksum
from ledger.permissions import read_candidates, read_rules
from ledger.types import Address
from node.explanation import Situation, is_well, say_all
from node.mined import MinedInterpreter

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
    facts = read_situation(node, told, names)
    figures = {
        "network": chain.genesis.name,
        "chainId": chain.genesis.chain_id,
        "consensus": chain.genesis.consensus,
        "head": chain.head.number,
        "headHash": "0x" + chain.head.hash.hex(),
        "headAgeSeconds": max(0, int(time.time()) - chain.head.timestamp),
        "catchingUp": sync.is_behind,
        "bestPeerHead": sync.best_height(),
        "round": told.round,
        "proposer": _name(told.proposer, names),
        "validators": [_name(one, names) for one in chain.validators],
        "candidates": list(facts.candidates),
        "connected": [_name(one, names) for one in connected],
        "notConnected": [_name(one, names) for one in chain.validators if one not in connected],
        "missingSince": dict(facts.away),
        "waitingFor": [_name(one, names) for one in missing],
        "quorum": told.quorum,
        "nextTryMs": told.next_try_ms,
        "waitingTransactions": node.pool.size,
        "trouble": facts.trouble,
        "evidence": node.interpreter.evidence.describe(),
        "version": package_version(),
        "timeMs": int(time.time() * 1_000),
        "well": is_well(facts),
        "explanation": say_all(facts),
    }
    if isinstance(node.interpreter, MinedInterpreter):
        mined = node.interpreter.describe()
        mined["explanation"] = f"{figures['explanation']} {mined['explanation']}"
        figures |= mined
    return figures


def read_situation(node: "Node", told: Any, names: dict[Address, str]) -> Situation:
    """The facts behind the explanation; `told` is the engine's own."""
    chain = node.chain
    state = node.head_state()
    connected = {node.address, *node.network.peers}
    now_s = int(time.time())
    since_s = node.watch.absence.since_s
    away = [one for one in chain.validators if one not in connected]
    coming = [(at, version) for at, version in read_rules(state) if version > RULES_VERSION]
    return Situation(
        head=chain.head.number,
        height=told.height,
        round=told.round,
        proposer=_name(told.proposer, names),
        quorum=told.quorum,
        validators=len(chain.validators),
        waiting=node.pool.size,
        now_s=now_s,
        has_work=node.has_work(),
        next_try_ms=told.next_try_ms,
        trouble=node.interpreter.trouble or told.trouble,
        behind=node.sync.best_height() if node.sync.is_behind else None,
        away=tuple((_name(one, names), int(since_s.get(one, now_s))) for one in away),
        silent=tuple(_name(one, names) for one in told.missing),
        candidates=tuple(_name(one, names) for one in read_candidates(state)),
        rules=coming[0] if coming else None,
        accusations=tuple(_accusations(node, names)),
    )


def _accusations(node: "Node", names: dict[Address, str]) -> list[str]:
    """What is known against those who validate now."""
    shelf = node.interpreter.evidence
    return [
        f"{_name(author, names)} {shelf.say(author)}: its key is in use on two machines, or it "
        "lies; its operator should look, and the network may vote it out."
        for author in node.chain.validators
        if shelf.say(author)
    ]


def _name(member: Address, names: dict[Address, str]) -> str:
    """A node's name from the network file and its address."""
    name = names.get(member)
    return f"{name} ({to_checksum(member)})" if name else to_checksum(member)
