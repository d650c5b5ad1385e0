"""Who a peer is: a secp256k1 key that signs for this very TLS connection.

TLS keeps the line secret; its certificates are self-made and nobody trusts them or their dates (an
expired certificate takes a network down for no gain, and a Pi's clock may be wrong). Instead each
side signs, with its node key,

    keccak(rlp(["wattledger/peer/1", role, version, chain id, genesis hash,
                dialer's nonce, listener's nonce, sha256 of the listener's certificate]))

role 0 for who dialled and 1 for who listens. Somebody in the middle has to show the dialler a
certificate of his own, so what the two ends sign differs and neither accepts the other; the nonces
make each signature good for one connection only. Not here: whether the peer is allowed.
"""

import hashlib
import os
import ssl
from pathlib import Path
from typing import Any

from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import recover_address_compact, sign_compact
from ledger.encoding import rlp
from ledger.errors import CryptoError
from ledger.types import Address, Hash32
from node.errors import NodeError, PeerError

DOMAIN = b"wattledger/peer/1"
DIALER, LISTENER = 0, 1
NONCE_BYTES = 32
CERTIFICATE_FILE = "tls.pem"


def compute_proof_digest(
    role: int,
    version: int,
    chain_id: int,
    genesis_hash: Hash32,
    dialer_nonce: bytes,
    listener_nonce: bytes,
    fingerprint: Hash32,
) -> Hash32:
    """What the side of this role signs; `fingerprint` is that of the listener's certificate."""
    numbers = [rlp.encode_uint(number) for number in (role, version, chain_id)]
    return keccak256(
        rlp.encode([DOMAIN, *numbers, genesis_hash, dialer_nonce, listener_nonce, fingerprint])
    )


def sign_proof(private_key: bytes, digest: Hash32) -> bytes:
    """The 65-byte signature of a PROOF frame."""
    return sign_compact(private_key, digest)


def recover_peer(digest: Hash32, signature: bytes) -> Address:
    """The node address that made a proof. Raises PeerError."""
    try:
        return recover_address_compact(digest, signature)
    except CryptoError as error:
        raise PeerError(f"its proof of identity is no signature: {error}") from error


def fingerprint_of(certificate: bytes) -> Hash32:
    """SHA-256 of a certificate in DER."""
    return hashlib.sha256(certificate).digest()


def read_peer_fingerprint(ssl_object: Any) -> Hash32:
    """The fingerprint of the certificate that the other end of a connection showed."""
    certificate = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
    if not certificate:
        raise PeerError("the connection is not in TLS")
    return fingerprint_of(certificate)


def load_or_make_certificate(folder: Path) -> tuple[Path, Hash32]:
    """The node's self-made TLS certificate with its key: its file, and its fingerprint.

    Made once and kept, so that whoever accepted it by hand in a browser need not do so again.
    """
    path = folder / CERTIFICATE_FILE
    if not path.exists():
        _write_private(path, _make_certificate())
    try:
        text = path.read_text()
        start = text.index("-----BEGIN CERTIFICATE-----")
        return path, fingerprint_of(ssl.PEM_cert_to_DER_cert(text[start:]))
    except (OSError, ValueError) as error:
        raise NodeError(
            f"{path} holds no certificate ({error}); delete it, it is remade"
        ) from error


def make_server_tls(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """TLS for a listening port. `key` is None where the certificate's file holds it too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # the TLS of an ESP32
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise NodeError(
            f"{certificate}: not a certificate with its private key: {error}"
        ) from error
    return context


def make_peer_tls(certificate: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS 1.3 between peers: (listening, dialling). Neither looks at names, dates or issuers."""
    listening = make_server_tls(certificate)
    listening.minimum_version = ssl.TLSVersion.TLSv1_3
    dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    dialling.minimum_version = ssl.TLSVersion.TLSv1_3
    dialling.check_hostname = False
    dialling.verify_mode = ssl.CERT_NONE  # the signature over the fingerprint is what proves
    return listening, dialling


def _make_certificate() -> bytes:
    """A P-256 key and a certificate from 1970 to 9999, both PEM."""
    # Only a first start needs this package; it costs 10 MB of memory.
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wattledger")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(1970, 1, 2))
        .not_valid_after(datetime(9999, 12, 31))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
