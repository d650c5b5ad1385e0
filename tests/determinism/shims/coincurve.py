"""secp256k1 in plain Python, for CPython builds that have no wheel of coincurve.

Only what `ledger.crypto.secp256k1` asks for. Slow, and not safe with secrets: nonces are a hash.
Source: SEC 1 sections 2.3 and 4.1, SEC 2 section 2.4.1. test_wasm holds it to the real one.
"""

from hashlib import sha256

PRIME = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BASE = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
Point = tuple[int, int] | None


def add(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0]:
        if (a[1] + b[1]) % PRIME == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, PRIME)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, PRIME)
    x = (slope * slope - a[0] - b[0]) % PRIME
    return x, (slope * (a[0] - x) - a[1]) % PRIME


def multiply(point: Point, times: int) -> Point:
    result: Point = None
    while times:
        if times & 1:
            result = add(result, point)
        point, times = add(point, point), times >> 1
    return result


def lift(x: int, odd: int) -> tuple[int, int]:
    y = pow(x**3 + 7, (PRIME + 1) // 4, PRIME)
    if x >= PRIME or (y * y - x**3 - 7) % PRIME:
        raise ValueError("no point of the curve")
    return x, y if y & 1 == odd else PRIME - y


class PublicKey:
    def __init__(self, data: bytes) -> None:
        x, y = int.from_bytes(data[1:33], "big"), int.from_bytes(data[33:], "big")
        if lift(x, y & 1) != (x, y):
            raise ValueError("no point of the curve")
        self.point: Point = (x, y)

    @classmethod
    def of(cls, point: Point) -> "PublicKey":
        key = cls.__new__(cls)
        key.point = point
        return key

    @classmethod
    def from_signature_and_message(
        cls, signature: bytes, message: bytes, hasher: None = None
    ) -> "PublicKey":
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        inverse, digest = pow(r, -1, ORDER), int.from_bytes(message, "big")
        sum_ = add(multiply(lift(r, signature[64]), s), multiply(BASE, -digest % ORDER))
        point = multiply(sum_, inverse)
        if point is None:
            raise ValueError("the point at infinity is no key")
        return cls.of(point)

    def format(self, compressed: bool = True) -> bytes:
        assert not compressed and self.point
        return b"\x04" + b"".join(number.to_bytes(32, "big") for number in self.point)


class PrivateKey:
    def __init__(self, secret: bytes) -> None:
        self.secret = int.from_bytes(secret, "big")
        self.public_key = PublicKey.of(multiply(BASE, self.secret))

    def sign_recoverable(self, message: bytes, hasher: None = None) -> bytes:
        seed = sha256(self.secret.to_bytes(32, "big") + message).digest()
        nonce = int.from_bytes(seed, "big") % ORDER
        point = multiply(BASE, nonce)
        assert point
        r, odd = point[0] % ORDER, point[1] & 1
        s = pow(nonce, -1, ORDER) * (int.from_bytes(message, "big") + r * self.secret) % ORDER
        if s > ORDER // 2:
            s, odd = ORDER - s, 1 - odd
        return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([odd])
