"""Every error a meter raises, in one tree. Each text is safe to show and says what to do.

    MeterError
    ├── ConfigError          the configuration file: file, key, what was expected
    ├── KeyFileError         the meter's own key cannot be read
    ├── SourceError          a file or port that gives no readings
    ├── OutboxError          the durable queue on disk
    │   └── OutboxFull       no room on the disk, or it fails: measuring goes on in memory
    └── NodeError            a node that does not serve this meter
        ├── NodeUnreachable  no answer, or none that is JSON-RPC
        ├── WrongChain       it answers for another chain, or an older state of ours
        └── CallRefused      it answered with an error object: `code`, `text`, `data`

What a source sends that is no reading (half a line, NaN, ...) is counted (`meter.faults`), never
raised.
"""

from pathlib import Path


class MeterError(Exception):
    """The root. Its text is safe to show to a user."""


class ConfigError(MeterError):
    def __init__(self, file: Path, key: str, expected: str) -> None:
        super().__init__(f"{file}: {key}: expected {expected}")
        self.file = file
        self.key = key
        self.expected = expected


class KeyFileError(MeterError):
    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"key file {file}: {problem}")
        self.file = file


class SourceError(MeterError):
    pass


class OutboxError(MeterError):
    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"outbox {file}: {problem}")
        self.file = file


class OutboxFull(OutboxError):
    pass


class NodeError(MeterError):
    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"node {url}: {problem}")
        self.url = url


class NodeUnreachable(NodeError):
    pass


class WrongChain(NodeError):
    pass


class CallRefused(NodeError):
    """`code` and `text` are the node's; `data` is the revert data, empty where there is none."""

    def __init__(self, url: str, method: str, code: int, text: str, data: bytes = b"") -> None:
        super().__init__(url, f"{method}: {text}")
        self.code = code
        self.text = text
        self.data = data
