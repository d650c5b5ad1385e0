"""node.toml and network.json: what they hold, and what is said of a bad one."""

import json
from pathlib import Path

import pytest

from ledger.chain import Chain
from ledger.crypto.address import address_of
from ledger.genesis import NETWORK_CONTRACT
from ledger.permissions import may_connect, may_deploy, read_validators
from ledger.store.memory import MemoryStore
from ledger.store.sqlite import SqliteStore
from node.config import SETTINGS, dump_settings, load_config, settings_documentation
from node.errors import ConfigError, NodeError
from node.keys import derive_unlocked, load_node_key, save_node_key
from node.network_files import create_network, load_network_file


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def test_an_empty_file_gives_every_default(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, ""))
    for setting in SETTINGS:
        value = getattr(config, setting.name.replace(".", "_"))
        if isinstance(value, Path):
            assert value == tmp_path / str(setting.default)
        elif value is None:
            assert setting.default == ""
        else:
            assert value == setting.default


def test_settings_come_back_as_they_were_written(tmp_path: Path) -> None:
    values = {
        "name": 'a "quoted" \\ name',
        "peers.port": 1_234,
        "rpc.origins": ("https://a.example", "https://b.example"),
        "key.sign_without_record": True,
        "log.level": "debug",
        "data": "/var/lib/wattledger",
    }
    config = load_config(write(tmp_path, dump_settings(values)))
    assert config.name == values["name"]
    assert config.peers_port == 1_234
    assert config.rpc_origins == values["rpc.origins"]
    assert config.key_sign_without_record is True
    assert config.data == Path("/var/lib/wattledger")


BAD = [
    ("peers.port = ", "TOML"),
    ("port = 1", "port: no such setting; did you mean"),
    ("[rpc]\nprot = 1", "rpc.prot: no such setting; did you mean rpc.port?"),
    ("[rpc.deep]\nport = 1", "rpc.deep: no such setting"),
    ("[rpc]\nport = '8545'", "rpc.port: expected an integer, got '8545'"),
    ("[rpc]\nport = true", "rpc.port: expected an integer, got True"),
    ("[rpc]\nport = 70000", "rpc.port: expected 0 to 65535, got 70000"),
    ("[store]\nflush_blocks = 0", "store.flush_blocks: expected 1 to 512, got 0"),
    ("[rpc]\norigins = '*'", "rpc.origins: expected a list of texts, got '*'"),
    ("[rpc]\norigins = [1]", "rpc.origins: expected a list of texts"),
    ("[log]\nlevel = 'loud'", "log.level: expected one of debug, info, warn, error, got 'loud'"),
    ("[key]\nsign_without_record = 1", "key.sign_without_record: expected true or false, got 1"),
    ("name = 3", "name: expected a text, got 3"),
    ("data = ''", "expected a path, got an empty text"),
    ("[rpc]\ntls_certificate = 'a.pem'", "rpc.tls_key: expected together with"),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=[words[:30] for _, words in BAD])
def test_a_bad_file_is_told_by_file_key_and_expectation(
    tmp_path: Path, text: str, words: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_a_file_that_is_not_there_or_far_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match=r"not a node\.toml"):
        load_config(write(tmp_path, "#" * 200_000))


def test_every_setting_is_documented_with_its_default() -> None:
    lines = settings_documentation().splitlines()[2:]
    assert len(lines) == len(SETTINGS)
    for line, setting in zip(lines, SETTINGS, strict=True):
        assert line.startswith(f"| `{setting.name}` | `")
        assert len(setting.help) > 20


def test_a_network_is_made_whole(tmp_path: Path) -> None:
    made = create_network(
        tmp_path / "grid", nodes=3, hosts=("10.0.0.1", "10.0.0.2", "10.0.0.2"), chain_id=77
    )
    assert made.administrator_key_file is not None
    assert address_of(load_node_key(made.administrator_key_file, None)) == made.administrator
    for member in made.members:
        config = load_config(member.config_file)
        key = load_node_key(config.key_file, None)
        assert address_of(key) == member.address
        assert config.key_file.stat().st_mode & 0o777 == 0o600
        assert config.peers_host == config.rpc_host == "0.0.0.0"
        read = load_network_file(config.network)
        assert read == load_network_file(made.network_file)
        assert {peer.address for peer in read.peers} == {one.address for one in made.members}
        store = SqliteStore(config.data / "chain.sqlite")
        assert store.load_signer() is not None  # made once, with the key
        chain = Chain(store, read.genesis)
        state = chain.state_at()
        assert read_validators(state) == tuple(sorted(one.address for one in made.members))
        assert may_connect(state, member.address)
        assert not may_deploy(state, member.address)
        assert state.get_code(NETWORK_CONTRACT)
        chain.close()
    ports = [(member.host, member.port, member.rpc_port) for member in made.members]
    assert ports == [
        ("10.0.0.1", 30_545, 8_545),
        ("10.0.0.2", 30_545, 8_545),
        ("10.0.0.2", 30_546, 8_546),
    ]


def test_two_networks_are_two_even_with_the_same_settings(tmp_path: Path) -> None:
    hashes = {
        Chain(
            MemoryStore(), create_network(tmp_path / name, nodes=1, timestamp=1).genesis
        ).genesis_hash
        for name in ("a", "b")
    }
    assert len(hashes) == 2


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    create_network(tmp_path / "grid", nodes=1)
    with pytest.raises(NodeError, match="is not empty: a network's files are never overwritten"):
        create_network(tmp_path / "grid", nodes=1)
    with pytest.raises(NodeError, match="2 hosts for 3 nodes"):
        create_network(tmp_path / "other", nodes=3, hosts=("a", "b"))
    with pytest.raises(NodeError, match="ports above 65535"):
        create_network(tmp_path / "high", nodes=2, rpc_port=65_535)
    with pytest.raises(NodeError, match="chain_id: expected an integer from 1"):
        create_network(tmp_path / "zero", nodes=1, chain_id=0)


BAD_PEERS = [
    ({}, "peers: expected a list"),
    ([1], r"peers\[0\]: expected an object"),
    ([{"host": "a", "port": 1, "address": "0x12"}], r"peers\[0\].address: an address is"),
    ([{"port": 1}], r"peers\[0\]: name and host: expected texts"),
    ([{"host": "a", "port": 0}], r"peers\[0\].port: expected 1 to 65535, got 0"),
    ([{"host": "a", "port": True}], r"peers\[0\].port"),
    ([{"hots": "a"}], r"peers\[0\]: expected an object with"),
]


@pytest.mark.parametrize(("peers", "words"), BAD_PEERS)
def test_bad_peers_in_a_network_file_are_named(tmp_path: Path, peers: object, words: str) -> None:
    made = create_network(tmp_path / "grid", nodes=1)
    values = json.loads(made.network_file.read_text())
    made.network_file.write_text(json.dumps(values | {"peers": peers}))
    with pytest.raises(NodeError, match=words) as caught:
        load_network_file(made.network_file)
    assert str(caught.value).startswith(str(made.network_file))


def test_a_network_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    with pytest.raises(NodeError, match="cannot be read"):
        load_network_file(path)
    path.write_text("{")
    with pytest.raises(NodeError, match="not JSON"):
        load_network_file(path)
    path.write_text("[]")
    with pytest.raises(NodeError, match="expected a JSON object"):
        load_network_file(path)
    path.write_text("{}")
    with pytest.raises(NodeError, match="missing"):
        load_network_file(path)


def test_node_keys_in_both_forms(tmp_path: Path) -> None:
    from ledger.crypto.keystore import encrypt_key

    key = b"\x42" * 32
    save_node_key(tmp_path / "plain", key)
    assert load_node_key(tmp_path / "plain", None) == key
    with pytest.raises(FileExistsError):
        save_node_key(tmp_path / "plain", key)  # a key is never overwritten
    document = encrypt_key(
        key, "secret", salt=b"\1" * 32, iv=b"\2" * 16, uuid=b"\3" * 16, kdf="pbkdf2"
    )
    (tmp_path / "keystore").write_text(json.dumps(document))
    (tmp_path / "password").write_text("secret\n")
    assert load_node_key(tmp_path / "keystore", tmp_path / "password") == key
    with pytest.raises(NodeError, match=r"key\.password_file must name"):
        load_node_key(tmp_path / "keystore", None)
    (tmp_path / "password").write_text("wrong\n")
    with pytest.raises(NodeError, match="wrong password"):
        load_node_key(tmp_path / "keystore", tmp_path / "password")
    (tmp_path / "short").write_text("ab" * 31)
    with pytest.raises(NodeError, match="expected a private key of 64 hex digits"):
        load_node_key(tmp_path / "short", None)
    with pytest.raises(NodeError, match="cannot be read"):
        load_node_key(tmp_path / "none", None)


def test_the_unlocked_accounts_are_those_everybody_knows() -> None:
    keys = derive_unlocked("test test test test test test test test test test test junk")
    assert len(keys) == 10
    assert next(iter(keys)).hex() == "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    with pytest.raises(NodeError, match=r"rpc\.unlocked_mnemonic"):
        derive_unlocked("not a mnemonic")
