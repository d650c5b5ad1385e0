"""Plain aliases that say what a value is; units stand in names (`timeout_ms`, `energy_wh`)."""

from typing import TypeAlias

Address: TypeAlias = bytes
"""20 bytes."""

Hash32: TypeAlias = bytes
"""32 bytes, a Keccak-256 digest."""

Height: TypeAlias = int
"""A block number; genesis is 0."""

Slot: TypeAlias = bytes
"""32 bytes, big-endian: the number of a storage slot of a contract."""

Word: TypeAlias = int
"""What a storage slot holds: 0 <= word < 2**256; zero is an absent leaf."""
