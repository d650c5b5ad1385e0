"""What the daemon and the command line tell their user went wrong.

NodeError            the text says what, where, and what to do about it
├── ConfigError      a setting: file, key, what was expected
└── PeerError        another node erred; it is scored and the connection closed
"""


class NodeError(Exception):
    """The root. Its text is safe to show."""


class ConfigError(NodeError):
    def __init__(self, file: str, key: str, expected: str) -> None:
        super().__init__(f"{file}: {key}: {expected}")
        self.file = file
        self.key = key
        self.expected = expected


class PeerError(NodeError):
    """A peer sent what no honest peer sends."""
