"""node.toml: every setting with its type, default and meaning in one table, and how it is read.

A setting that is unknown, of another type or out of range is an error that names the file, the key
and what was expected. Relative paths are relative to the file's folder. Not here: the network file
(`network_files`), which all nodes of a network share.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from node.errors import ConfigError
from node.log import FORMATS, LEVELS

PORT_MAX = 65_535
CONFIG_BYTES_MAX = 100_000
"""A settings file has 1 kB; what is far longer is none."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table. `minimum` and `maximum` bound integers, ends included."""

    name: str
    default: str | int | bool | tuple[str, ...]
    help: str
    minimum: int = 0
    maximum: int = 2**53
    choices: tuple[str, ...] = ()


SETTINGS = (
    Setting("name", "", "What this node calls itself to its peers and in `admin_peers`."),
    Setting("network", "network.json", "The network file, the same on every node."),
    Setting("data", "data", "Folder for blocks, state and the signer record."),
    Setting(
        "key.file", "node.key", "This node's private key: 64 hex digits, or a Web3 key file (JSON)."
    ),
    Setting("key.password_file", "", "File with the password of a Web3 key file."),
    Setting(
        "key.sign_without_record",
        False,
        "Sign although the signer record is missing: only for a network of one or two validators, "
        "and only if this key signed nothing that was lost.",
    ),
    Setting("peers.host", "0.0.0.0", "Address to listen on for peers."),
    Setting("peers.port", 30_545, "Port to listen on for peers.", 0, PORT_MAX),
    Setting("peers.connections_max", 64, "Connections with peers, both ways.", 1, 1_000),
    Setting(
        "peers.discover",
        False,
        "Announce this node on the local network and look for others of its network there "
        "(multicast DNS), so that they are found whatever addresses a router hands out.",
    ),
    Setting("rpc.host", "127.0.0.1", "Address to listen on for JSON-RPC."),
    Setting("rpc.port", 8_545, "Port for JSON-RPC over HTTP and WebSocket.", 0, PORT_MAX),
    Setting("rpc.origins", ("*",), 'Web origins that may call, such as "https://app.example".'),
    Setting("rpc.connections_max", 1_000, "Open JSON-RPC connections.", 1, 100_000),
    Setting("rpc.tls_port", 0, "A second port for JSON-RPC in TLS; 0 for none.", 0, PORT_MAX),
    Setting(
        "rpc.tls_certificate", "", "Its certificate (PEM); without one the node makes its own."
    ),
    Setting("rpc.tls_key", "", "The private key of that certificate (PEM)."),
    Setting("rpc.metrics", True, "GET /metrics on the JSON-RPC port answers Prometheus."),
    Setting(
        "rpc.unlocked_mnemonic",
        "",
        "Development only: ten accounts of this mnemonic answer `eth_sendTransaction`.",
    ),
    Setting(
        "rpc.filter_minutes", 1_440, "A filter nobody asked for so long is removed.", 1, 525_600
    ),
    Setting(
        "store.flush_blocks",
        64,
        "Blocks whose state is held in memory before it is written; 1 is the strictest.",
        1,
        512,
    ),
    Setting("store.flush_seconds", 30, "The state is written at least so often.", 1, 3_600),
    Setting("store.states_kept", 256, "States kept readable, in blocks, and at least 10 minutes."),
    Setting(
        "store.bodies_days",
        0,
        "Days that bodies and receipts of blocks are kept; headers always are. 0 keeps all.",
        0,
        36_500,
    ),
    Setting(
        "sync.snapshot_blocks",
        10_000,
        "A node so many blocks behind fetches the state of a late block, checked against its "
        "certificate, and executes only what follows. 0: only where nobody keeps older bodies.",
    ),
    Setting(
        "contracts.isolation",
        "none",
        'Where contracts run: "none" is in the node; "process" in a worker without file, network '
        "or process rights (Linux with libseccomp). If the worker dies, the node stops deciding.",
        choices=("none", "process"),
    ),
    Setting("contracts.memory_mb", 256, "What that worker may allocate, in MB.", 64, 65_536),
    Setting(
        "miner.enabled", True, "Proof of work only: whether this node mines, or follows alone."
    ),
    Setting(
        "miner.hashes_per_s",
        20_000,
        "Proof of work only: no faster than this, so that a Pi stays cool; 0 for all of a core.",
    ),
    Setting("threads", 2, "Threads that recover the senders of transactions.", 1, 64),
    Setting("log.level", "info", "Least level that is logged.", choices=LEVELS),
    Setting("log.format", "text", "`text`, or `json`: an object a line.", choices=FORMATS),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}
_PATHS = (
    "network",
    "data",
    "key.file",
    "key.password_file",
    "rpc.tls_certificate",
    "rpc.tls_key",
)


@dataclass(frozen=True, slots=True)
class Config:
    """A read node.toml. Ports and bounds in the settings' own units; paths absolute or None."""

    file: Path
    name: str
    network: Path
    data: Path
    key_file: Path
    key_password_file: Path | None
    key_sign_without_record: bool
    peers_host: str
    peers_port: int
    peers_connections_max: int
    peers_discover: bool
    rpc_host: str
    rpc_port: int
    rpc_origins: tuple[str, ...]
    rpc_connections_max: int
    rpc_tls_port: int
    rpc_tls_certificate: Path | None
    rpc_tls_key: Path | None
    rpc_metrics: bool
    rpc_unlocked_mnemonic: str
    rpc_filter_minutes: int
    store_flush_blocks: int
    store_flush_seconds: int
    store_states_kept: int
    store_bodies_days: int
    sync_snapshot_blocks: int
    contracts_isolation: str
    contracts_memory_mb: int
    miner_enabled: bool
    miner_hashes_per_s: int
    threads: int
    log_level: str
    log_format: str


def load_config(path: Path) -> Config:
    """Read node.toml. Raises ConfigError naming the file, the key and what was expected."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(file, "file", f"cannot be read: {error.strerror}") from error
    if len(raw) > CONFIG_BYTES_MAX:
        raise ConfigError(file, "file", f"longer than {CONFIG_BYTES_MAX} bytes: not a node.toml")
    try:
        document = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(file, "TOML", str(error)) from error
    given = _flatten(document)
    values: dict[str, object] = {}
    for name, value in given.items():
        setting = _BY_NAME.get(name)
        if setting is None:
            raise ConfigError(file, name, _unknown(name))
        _check(file, setting, value)
        values[name] = tuple(value) if isinstance(value, list) else value
    for setting in SETTINGS:
        values.setdefault(setting.name, setting.default)
    folder = path.absolute().parent
    for name in _PATHS:
        text = values[name]
        values[name] = folder / text if isinstance(text, str) and text else None
    if values["network"] is None or values["data"] is None or values["key.file"] is None:
        raise ConfigError(file, "network, data, key.file", "expected a path, got an empty text")
    if bool(values["rpc.tls_certificate"]) != bool(values["rpc.tls_key"]):
        raise ConfigError(file, "rpc.tls_key", "expected together with rpc.tls_certificate")
    fields = {name.replace(".", "_"): value for name, value in values.items()}
    return Config(file=path.absolute(), **fields)  # type: ignore[arg-type]  # by _check


def settings_documentation() -> str:
    """A Markdown table of every setting with its default; a test compares it with the docs."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        lines.append(f"| `{setting.name}` | `{_toml(setting.default)}` | {setting.help} |")
    return "\n".join(lines) + "\n"


def dump_settings(values: dict[str, str | int | bool | tuple[str, ...]]) -> str:
    """A node.toml with these settings, each under what it means."""
    lines: list[str] = []
    section = ""
    for setting in SETTINGS:
        if setting.name not in values:
            continue
        *path, key = setting.name.split(".")
        if path and path[0] != section:
            section = path[0]
            lines += ["", f"[{section}]"]
        lines += [f"# {setting.help}", f"{key} = {_toml(values[setting.name])}"]
    return "\n".join(lines) + "\n"


def _flatten(document: dict[str, object]) -> dict[str, object]:
    """Sections as dotted names; what is deeper stays a table and is refused as unknown."""
    flat: dict[str, object] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{inner}": one for inner, one in value.items()})
        else:
            flat[key] = value
    return flat


def _check(file: str, setting: Setting, value: object) -> None:
    """Hold a value to its setting's type and bounds."""
    default = setting.default
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(file, setting.name, f"expected a list of texts, got {value!r:.80}")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise ConfigError(file, setting.name, f"expected true or false, got {value!r:.80}")
    elif isinstance(default, int):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(file, setting.name, f"expected an integer, got {value!r:.80}")
        if not setting.minimum <= value <= setting.maximum:
            expected = f"expected {setting.minimum} to {setting.maximum}, got {value}"
            raise ConfigError(file, setting.name, expected)
    elif not isinstance(value, str):
        raise ConfigError(file, setting.name, f"expected a text, got {value!r:.80}")
    elif setting.choices and value not in setting.choices:
        expected = f"expected one of {', '.join(setting.choices)}, got {value!r:.80}"
        raise ConfigError(file, setting.name, expected)


def _unknown(name: str) -> str:
    """What to tell about a setting that does not exist, with the nearest that does."""
    from difflib import get_close_matches

    near = get_close_matches(name, _BY_NAME, n=1)
    return "no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _toml(value: str | int | bool | tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
