"""Methods over HTTP against one running validator: what clients ask, and what they get."""

from typing import Any

from ledger.crypto.address import address_of, to_checksum
from node.client import Client, RpcError
from node.rpc.context import Context
from node.rpc.parameters import BlockTag
from node.rpc.table import METHODS
from tests.node.counter import CHAIN_ID, SOURCE, STRANGER_KEY, data_of, error_of, send

# What every wallet asks first.


def test_what_wallets_detect_a_network_by(client: Client) -> None:
    assert client.call("eth_chainId") == "0x79b"
    assert client.call("net_version") == "1947"
    assert client.call("eth_gasPrice") == "0x0"
    assert client.call("eth_maxPriorityFeePerGas") == "0x0"
    block = client.call("eth_getBlockByNumber", "latest", False)
    assert block["baseFeePerGas"] == "0x0"
    assert len(block["extraData"]) == 66
    assert block["totalDifficulty"] == hex(int(block["number"], 16) + 1)
    history = client.call("eth_feeHistory", "0x5", "latest", [10, 90])
    assert set(history["baseFeePerGas"]) == {"0x0"}
    assert len(history["reward"]) == len(history["gasUsedRatio"])
    assert client.call("eth_feeHistory", 2, "latest")["oldestBlock"]
    assert client.call("eth_syncing") is False


def test_what_an_esp32_asks(client: Client) -> None:
    assert client.call("web3_clientVersion").startswith("Wattledger/v")
    empty = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert client.call("web3_sha3", "0x") == empty
    assert client.call("net_listening") is True
    assert client.call("net_peerCount") == "0x0"
    assert client.call("eth_protocolVersion") == "0x41"
    assert client.call("eth_mining") is True
    assert client.call("eth_hashrate") == "0x0"
    assert len(client.call("eth_coinbase")) == 42


def test_every_method_of_the_table_answers_something(client: Client) -> None:
    """With no parameters at all: a result or -32602, never an internal error."""
    for name in METHODS:
        try:
            client.call(name)
        except RpcError as error:
            assert error.code in (-32602, -32601), f"{name}: {error}"


# The state.


def test_state_now_and_at_a_block(client: Client, accounts: list[str], counter: str) -> None:
    before = client.height()
    send(client, accounts[0], counter, data_of("add(uint64)", 7))
    slot = "0x0"
    total = int(client.call("eth_getStorageAt", counter, slot, "latest"), 16)
    earlier = int(client.call("eth_getStorageAt", counter, slot, hex(before)), 16)
    assert total == earlier + 7
    call = {"to": counter, "data": data_of("getTotal()")}
    assert int(client.call("eth_call", call), 16) == total
    assert int(client.call("eth_call", call, hex(before)), 16) == earlier
    block = client.call("eth_getBlockByNumber", hex(before), False)
    assert int(client.call("eth_call", call, {"blockHash": block["hash"]}), 16) == earlier
    for tag in ("latest", "pending", "safe", "finalized"):
        assert int(client.call("eth_call", call, tag), 16) == total
    assert bytes.fromhex(client.call("eth_getCode", counter)[2:]) == SOURCE
    assert client.call("eth_getCode", counter, "earliest") == "0x"
    assert client.call("eth_getCode", accounts[0], "latest") == "0x"
    assert int(client.call("eth_getBalance", accounts[0], "earliest"), 16) == 10**22


def test_proofs_hold_under_the_state_root(
    client: Client, accounts: list[str], counter: str
) -> None:
    """Checked by the `trie` and `rlp` packages, which know nothing of ours."""
    import rlp
    from eth_utils import keccak
    from trie import HexaryTrie

    send(client, accounts[1], counter, data_of("add(uint64)", 3))
    absent = "0x" + "99" * 32
    proof = client.call("eth_getProof", counter, ["0x0", absent], "latest")
    block = client.call("eth_getBlockByNumber", "latest", False)

    def unhex(text: str) -> bytes:
        return bytes.fromhex(text[2:])

    def prove(root: bytes, key: bytes, nodes: list[str]) -> bytes:
        decoded = [rlp.decode(unhex(node)) for node in nodes]
        value: bytes = HexaryTrie.get_from_proof(root, keccak(key), decoded)
        return value

    leaf = prove(unhex(block["stateRoot"]), unhex(counter), proof["accountProof"])
    nonce, balance, storage_root, code_hash = rlp.decode(leaf)
    assert storage_root == unhex(proof["storageHash"])
    assert code_hash == unhex(proof["codeHash"]) == keccak(SOURCE)
    assert int.from_bytes(nonce, "big") == int(proof["nonce"], 16) == 1
    assert int.from_bytes(balance, "big") == int(proof["balance"], 16)
    total, missing = proof["storageProof"]
    word = rlp.decode(prove(storage_root, bytes(32), total["proof"]))
    assert int.from_bytes(word, "big") == int(total["value"], 16) > 0
    assert missing["value"] == "0x0"
    assert prove(storage_root, unhex(absent), missing["proof"]) == b""


def test_header_roots_and_hash_from_the_json_alone(
    client: Client, accounts: list[str], counter: str
) -> None:
    import rlp
    from eth_utils import keccak
    from trie import HexaryTrie

    receipt = send(client, accounts[2], counter, data_of("add(uint64)", 1))
    block = client.call("eth_getBlockByHash", receipt["blockHash"], True)

    def unhex(text: str) -> bytes:
        digits = text[2:]
        return bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))

    def quantity(text: str) -> bytes:
        number = int(text, 16)
        return number.to_bytes((number.bit_length() + 7) // 8, "big")

    names = ("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot")
    items = [unhex(block[name]) for name in (*names, "logsBloom")]
    items += [quantity(block[name]) for name in ("difficulty", "number", "gasLimit", "gasUsed")]
    items += [quantity(block["timestamp"]), unhex(block["extraData"]), unhex(block["mixHash"])]
    items += [unhex(block["nonce"]), quantity(block["baseFeePerGas"])]
    assert keccak(rlp.encode(items)) == unhex(block["hash"])

    raws, encoded = HexaryTrie({}), HexaryTrie({})
    for index, transaction in enumerate(block["transactions"]):
        raw = client.call("eth_getRawTransactionByHash", transaction["hash"])
        raws[rlp.encode(index)] = unhex(raw)
    for index, one in enumerate(client.call("eth_getBlockReceipts", block["number"])):
        entries = [
            [unhex(log["address"]), [unhex(t) for t in log["topics"]], unhex(log["data"])]
            for log in one["logs"]
        ]
        body = rlp.encode(
            [
                quantity(one["status"]),
                quantity(one["cumulativeGasUsed"]),
                unhex(one["logsBloom"]),
                entries,
            ]
        )
        kind = int(one["type"], 16)
        encoded[rlp.encode(index)] = (bytes([kind]) if kind else b"") + body
    assert raws.root_hash == unhex(block["transactionsRoot"])
    assert encoded.root_hash == unhex(block["receiptsRoot"])
    assert int(block["logsBloom"], 16) == int(receipt["logsBloom"], 16) != 0


# Unlocked accounts.


def test_only_unlocked_accounts_are_signed_for(client: Client, accounts: list[str]) -> None:
    stranger = to_checksum(address_of(STRANGER_KEY))
    error = error_of(client, "eth_sendTransaction", {"from": stranger, "to": accounts[0]})
    assert "unknown account" in str(error)
    wrong = {"from": accounts[0], "to": accounts[1], "chainId": "0x1"}
    assert "invalid chain id" in str(error_of(client, "eth_sendTransaction", wrong))
    signed = client.call("eth_signTransaction", {"from": accounts[9], "to": accounts[0]})
    assert client.wait_for_receipt(client.call("eth_sendRawTransaction", signed["raw"]))


def test_messages_are_signed_as_wallets_do(client: Client, accounts: list[str]) -> None:
    from eth_account import Account
    from eth_account.messages import encode_defunct

    for method, params in (
        ("eth_sign", (accounts[0], "0x68690a")),
        ("personal_sign", ("0x68690a", accounts[0], "")),
    ):
        signature = client.call(method, *params)
        message = encode_defunct(b"hi\n")
        assert Account.recover_message(message, signature=signature) == accounts[0]


# Our own.


def test_header_proofs_are_what_a_light_client_needs(one_node: Any, client: Client) -> None:
    from ledger.block import decode_certificate, decode_header
    from ledger.light import LightClient

    info = client.call("wattledger_networkInfo")
    assert info["chainId"] == CHAIN_ID
    genesis_hash = bytes.fromhex(info["genesisHash"][2:])
    light = LightClient(CHAIN_ID, genesis_hash, one_node.made.genesis.validators)
    assert client.call("wattledger_getValidatorChanges") == []
    for height in (1, client.height()):
        proof = client.call("wattledger_getHeaderProof", hex(height))
        header = decode_header(bytes.fromhex(proof["header"][2:]))
        certificate = decode_certificate(bytes.fromhex(proof["certificate"][2:]))
        light.follow(header, certificate, one_node.made.genesis.validators)
        assert proof["hash"] == "0x" + header.hash.hex()
        assert proof["validators"] == info["validators"]
    shown = client.call("wattledger_getCertificate", hex(1))
    assert shown["blockHash"] == client.call("eth_getBlockByNumber", "0x1", False)["hash"]
    assert client.call("wattledger_getCertificate", "0x0") is None
    assert client.call("wattledger_getHeaderProof", "0x0")["certificate"] is None


def test_the_status_says_that_all_is_well(client: Client) -> None:
    status = client.call("wattledger_status")
    assert status["head"] == client.height()
    assert status["trouble"] is None
    assert status["explanation"].startswith("All is well")
    info = client.call("admin_nodeInfo")
    assert info["name"] == "node1"
    assert info["isValidator"] is True


def test_a_receipt_that_is_waited_for_is_null(client: Client) -> None:
    calls = [("eth_getTransactionReceipt", ["0x" + f"{n:064x}"]) for n in range(200)]
    assert client.batch(calls) == [None] * 200


def test_raw_bytes_with_spaces_are_refused(client: Client) -> None:
    """Python's own hex reader would skip them."""
    assert "invalid" in str(error_of(client, "eth_sendRawTransaction", "0xc0 c0"))


def test_what_reads_a_whole_old_block_takes_turns(
    one_node: Any, client: Client, accounts: list[str]
) -> None:
    """A client that asks for old blocks all the time must not keep votes waiting."""
    paid = client.call("eth_sendTransaction", {"from": accounts[0], "to": accounts[1]})
    block = client.wait_for_receipt(paid)
    node, number = one_node.nodes[0], int(block["blockNumber"], 16)
    block_hash, tx_hash = bytes.fromhex(block["blockHash"][2:]), bytes.fromhex(paid[2:])
    asked: dict[str, tuple[Any, ...]] = {
        name: (BlockTag(height=number),) if "Number" in name or "Receipts" in name
        else (tx_hash,) if name.endswith(("TransactionByHash", "Receipt")) else (block_hash,)
        for name, method in METHODS.items() if method.is_old is not None
    }  # fmt: skip
    assert {"eth_getBlockReceipts", "eth_getBlockByHash", "eth_getTransactionReceipt"} <= set(asked)
    context = Context(node, None)
    for at_hand in (True, False):
        for name, arguments in asked.items():
            if not at_hand:
                node.recent.forget(0)
            assert METHODS[name].is_old(context, *arguments) is not at_hand, name  # type: ignore[misc]
    assert client.call("eth_getTransactionReceipt", paid) == block
    assert node.recent.has(number) and node.recent.has_transaction(tx_hash)
