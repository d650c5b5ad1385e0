"""Headers with certificates: a chain of hashes, signed by quorums of the sets that they name.

The validators of the next block are those whose hash the last header names; where they change, the
header comes with the new members, which prove themselves by that hash. A certificate proves its
header and, through the hashes of their parents, all before it. So from a trusted header a whole
chain is followed without running it by the certificates at the end of each answer and where the
validators change, and a peer that lies is found out at the first answer.
Source: DESIGN.md section 2, "Light rule".
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from ledger.block import (
    VALIDATORS_MAX,
    Certificate,
    Header,
    commit_digest,
    decode_certificate,
    decode_header,
    quorum,
    validators_hash,
)
from ledger.errors import ProofError
from ledger.light import verify_certificate
from ledger.types import Address, Hash32, Height

FindOverride = Callable[[Height], tuple[Address, ...] | None]
Seal = Callable[[Hash32], bytes]
"""What our own key would sign a digest with, the same each time."""

CERTIFICATES_PER_TASK = 64
"""Checked at once on a thread: 10 ms of work, mostly in a library that lets others run."""


class Trusted(NamedTuple):
    """A header that is certain, and who decides the block after it."""

    header: Header
    validators: tuple[Address, ...]


class Link(NamedTuple):
    """A header that follows the one before, with what came with it, and who has to have signed."""

    header: Header
    raw: bytes
    raw_certificate: bytes
    certificate: Certificate
    validators: tuple[Address, ...]

    @property
    def row(self) -> tuple[Height, Hash32, bytes, bytes]:
        """What the store keeps."""
        return self.header.number, self.header.hash, self.raw, self.raw_certificate


def link_headers(
    trusted: Trusted, rows: Sequence[Sequence[bytes]], find_override: FindOverride
) -> tuple[list[Link], Trusted]:
    """Read headers that follow a trusted one, and whom to trust after them.

    `find_override` has the validators that the network file itself names for a height. Raises
    ProofError, EncodingError; certificates are still to be checked.
    """
    links: list[Link] = []
    parent, validators = trusted
    decided_by = validators_hash(validators)
    for raw, raw_certificate, members in rows:
        header = decode_header(raw)
        where = f"header {header.number}"
        if header.number != parent.number + 1 or header.parent_hash != parent.hash:
            raise ProofError(f"{where} does not follow block {parent.number}")
        if header.timestamp < parent.timestamp:
            raise ProofError(f"{where} has an earlier time than its parent")
        override = find_override(header.number)
        if override is not None:
            validators, decided_by = override, validators_hash(override)
        if header.extra_data != decided_by:
            raise ProofError(f"{where} is not decided by those whom block {parent.number} names")
        certificate = decode_certificate(raw_certificate)
        check_form(header, certificate, len(validators))
        links.append(Link(header, raw, raw_certificate, certificate, validators))
        if header.mix_hash != header.extra_data:
            validators, decided_by = read_members(members), header.mix_hash
            if validators_hash(validators) != header.mix_hash:
                raise ProofError(f"{where} names other validators than come with it")
        parent = header
    return links, Trusted(parent, validators)


def check_form(header: Header, certificate: Certificate, count: int) -> None:
    """Whether a certificate of so many validators may prove a header, its signatures apart."""
    signed = len(certificate.signatures)
    if certificate.height != header.number or certificate.block_hash != header.hash:
        raise ProofError(f"the certificate of block {header.number} is of another block")
    if not quorum(count) <= signed <= count:
        raise ProofError(f"block {header.number}: {signed} signatures of {count} validators")


def find_proofs(links: Sequence[Link]) -> list[Link]:
    """The links whose certificates prove them all: the last one, and where validators change."""
    return [
        link
        for link in links
        if link is links[-1] or link.header.mix_hash != link.header.extra_data
    ]


def find_own_seal(
    links: Sequence[Link], chain_id: int, genesis_hash: Hash32, own: Address, seal: Seal
) -> Height:
    """The highest block whose certificate our own key signed; -1 if none."""
    for link in reversed(links):
        if own in link.validators:
            round_, block_hash = link.certificate.round, link.certificate.block_hash
            digest = commit_digest(chain_id, genesis_hash, link.header.number, round_, block_hash)
            if seal(digest) in link.certificate.signatures:
                return link.header.number
    return -1


def read_members(members: bytes) -> tuple[Address, ...]:
    """Addresses of 20 bytes each, one after the other. Raises ProofError."""
    if len(members) % 20 or len(members) > 20 * VALIDATORS_MAX:
        raise ProofError("validators are addresses of 20 bytes, at most 100 of them")
    return tuple(members[start : start + 20] for start in range(0, len(members), 20))


def verify_links(links: Sequence[Link], chain_id: int, genesis_hash: Hash32) -> None:
    """Check every certificate. Raises ProofError."""
    for link in links:
        verify_certificate(link.header, link.certificate, link.validators, chain_id, genesis_hash)


async def verify_on_threads(
    links: Sequence[Link], chain_id: int, genesis_hash: Hash32, executor: Executor | None
) -> None:
    """As `verify_links`, in parts on the executor."""
    loop = asyncio.get_running_loop()
    parts = [
        links[start : start + CERTIFICATES_PER_TASK]
        for start in range(0, len(links), CERTIFICATES_PER_TASK)
    ]
    await asyncio.gather(
        *(
            loop.run_in_executor(executor, verify_links, part, chain_id, genesis_hash)
            for part in parts
        )
    )
