"""Keccak-256 in plain Python, for CPython builds that have no wheel of safe-pysha3.

Source: the Keccak reference, version 3.0. test_wasm holds it to the real backend.
"""

MASK = (1 << 64) - 1
RATE_BYTES = 136
ROTATIONS = (
    (0, 36, 3, 41, 18),
    (1, 44, 10, 45, 2),
    (62, 6, 43, 15, 61),
    (28, 55, 25, 21, 56),
    (27, 20, 39, 8, 14),
)


def list_round_constants() -> list[int]:
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for power in range(7):
            if register & 1:
                constant |= 1 << ((1 << power) - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


ROUND_CONSTANTS = list_round_constants()


def permute(lanes: list[list[int]]) -> list[list[int]]:
    for constant in ROUND_CONSTANTS:
        parity = [a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] for a in lanes]
        turned = [(c << 1 | c >> 63) & MASK for c in parity]
        moved = [[0] * 5 for _ in range(5)]
        for x in range(5):
            mixed = parity[x - 1] ^ turned[(x + 1) % 5]
            for y in range(5):
                lane, by = lanes[x][y] ^ mixed, ROTATIONS[x][y]
                moved[y][(2 * x + 3 * y) % 5] = (lane << by | lane >> (64 - by)) & MASK
        lanes = [
            [moved[x][y] ^ (~moved[(x + 1) % 5][y] & moved[(x + 2) % 5][y]) for y in range(5)]
            for x in range(5)
        ]
        lanes[0][0] ^= constant
    return lanes


class keccak_256:
    def __init__(self, data: bytes = b"") -> None:
        self.data = bytes(data)

    def digest(self) -> bytes:
        short = RATE_BYTES - len(self.data) % RATE_BYTES
        padded = bytearray(self.data + bytes(short))
        padded[len(self.data)] ^= 0x01
        padded[-1] ^= 0x80
        lanes = [[0] * 5 for _ in range(5)]
        for start in range(0, len(padded), RATE_BYTES):
            for index in range(RATE_BYTES // 8):
                at = start + 8 * index
                lanes[index % 5][index // 5] ^= int.from_bytes(padded[at : at + 8], "little")
            lanes = permute(lanes)
        return b"".join(lanes[index][0].to_bytes(8, "little") for index in range(4))
