"""Methods about the node, its network and its pool; header proofs for who trusts no node.

Sources: Ethereum execution-apis (net, web3), go-ethereum (admin, txpool); `wattledger_` is ours.
"""

import platform
import sys
from typing import Any

from ledger.crypto.address import to_checksum
from ledger.crypto.keccak import keccak256
from ledger.types import Address
from ledger.work import SETTLED_BLOCKS
from node.rpc.context import METHODS, Context, get_height
from node.rpc.format import format_transaction
from node.rpc.parameters import LATEST, BlockTag, Parameter, parse_block, parse_data
from node.status import package_version
from node.sync.certificates import read_certificate

AT_BLOCK = Parameter("block", parse_block, LATEST)
Json = dict[str, Any]


@METHODS.method("eth_chainId")
def chain_id(context: Context) -> str:
    return hex(context.node.chain.genesis.chain_id)


@METHODS.method("net_version")
def net_version(context: Context) -> str:
    return str(context.node.chain.genesis.chain_id)


@METHODS.method("net_listening")
def net_listening(context: Context) -> bool:
    return True


@METHODS.method("net_peerCount")
def net_peer_count(context: Context) -> str:
    return hex(len(context.node.describe_peers()))


@METHODS.method("web3_clientVersion")
def client_version(context: Context) -> str:
    system = f"{sys.platform}-{platform.machine()}"
    return f"Wattledger/v{package_version()}/{system}/python{platform.python_version()}"


@METHODS.method("web3_sha3", Parameter("data", parse_data))
def web3_sha3(context: Context, data: bytes) -> str:
    return "0x" + keccak256(data).hex()


@METHODS.method("eth_protocolVersion")
def protocol_version(context: Context) -> str:
    return "0x41"  # 65: what geth last answered here


@METHODS.method("eth_syncing")
def syncing(context: Context) -> Json | bool:
    return context.node.describe_sync() or False


@METHODS.method("eth_mining")
def mining(context: Context) -> bool:
    told = context.node.explain()
    return bool(told.get("mining", context.node.address in context.node.chain.validators))


@METHODS.method("eth_hashrate")
def hashrate(context: Context) -> str:
    return hex(context.node.explain().get("hashesPerSecond", 0))


@METHODS.method("eth_coinbase")
def coinbase(context: Context) -> str:
    return to_checksum(context.node.address)


@METHODS.method("admin_peers")
def admin_peers(context: Context) -> list[Json]:
    return context.node.describe_peers()


@METHODS.method("admin_nodeInfo")
def admin_node_info(context: Context) -> Json:
    return context.node.describe_node()


@METHODS.method("txpool_status")
def txpool_status(context: Context) -> Json:
    executable, gapped = context.node.pool.content()
    return {
        "pending": hex(sum(map(len, executable.values()))),
        "queued": hex(sum(map(len, gapped.values()))),
    }


@METHODS.method("txpool_content", heavy=True)
def txpool_content(context: Context) -> Json:
    """What waits: `pending` may be included, `queued` waits for the nonce before it."""
    executable, gapped = context.node.pool.content()
    return {
        name: {
            to_checksum(sender): {
                str(transaction.nonce): format_transaction(transaction)
                for transaction in transactions
            }
            for sender, transactions in group.items()
        }
        for name, group in (("pending", executable), ("queued", gapped))
    }


@METHODS.method("wattledger_status")
def status(context: Context) -> Json:
    """How the network stands; `explanation` says in plain words on whom it waits."""
    return context.node.explain()


@METHODS.method("wattledger_networkInfo")
def network_info(context: Context) -> Json:
    """What a client needs to know of the network, and of the rules it keeps."""
    chain = context.node.chain
    genesis = chain.genesis
    return {
        "name": genesis.name,
        "chainId": genesis.chain_id,
        "genesisHash": "0x" + chain.genesis_hash.hex(),
        "consensus": genesis.consensus,
        "difficulty": genesis.difficulty,
        "settledBlocks": SETTLED_BLOCKS if chain.is_mined else 0,
        "validators": _addresses(chain.validators),
        "gasLimit": genesis.gas_limit,
        "baseFee": genesis.base_fee,
        "blockPeriodMs": genesis.block_period_ms,
        "emptyBlockPeriodSeconds": genesis.empty_block_period_s,
        "roundTimeoutMs": genesis.round_timeout_ms,
        "simulated": genesis.simulated,
    }


@METHODS.method("wattledger_getCertificate", AT_BLOCK)
def get_certificate(context: Context, tag: BlockTag) -> Json | None:
    """The signatures that made a block final; null for genesis."""
    certificate = read_certificate(context.node.chain, get_height(context, tag))
    if certificate is None:
        return None
    return {
        "height": hex(certificate.height),
        "round": hex(certificate.round),
        "blockHash": "0x" + certificate.block_hash.hex(),
        "signatures": ["0x" + signature.hex() for signature in certificate.signatures],
    }


@METHODS.method("wattledger_getHeaderProof", AT_BLOCK)
def get_header_proof(context: Context, tag: BlockTag) -> Json:
    """A header with its certificate and the validators behind the two hashes in it.

    `header` is its RLP and `certificate` msgpack, both in hex, as `ledger.light` reads them.
    """
    chain = context.node.chain
    height = get_height(context, tag)
    header = chain.header(height)
    certificate = read_certificate(chain, height)
    # Genesis' extraData is the hash of the settings, not of a validator set.
    validators = chain.validators_of(header.extra_data) if height else None
    return {
        "number": hex(height),
        "hash": "0x" + header.hash.hex(),
        "header": "0x" + header.encode().hex(),
        "certificate": None if certificate is None else "0x" + certificate.encode().hex(),
        "validators": _addresses(validators or ()),
        "nextValidators": _addresses(chain.validators_of(header.mix_hash) or ()),
    }


@METHODS.method("wattledger_getValidatorChanges")
def get_validator_changes(context: Context) -> list[str]:
    """The blocks at which the validators changed: a light client follows them one by one."""
    return [hex(height) for height in context.node.changes.heights]


def _addresses(members: tuple[Address, ...]) -> list[str]:
    return [to_checksum(member) for member in members]
