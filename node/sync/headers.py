"""Headers with certificates: a chain of hashes, each header signed by a quorum of the set before.

The validators of the next block are those whose hash the last header names; where they change, the
header comes with the new members, which prove themselves by that hash. So from a trusted header a
whole chain is followed without running it, and a peer that lies is found out at the first header.
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
    decode_certificate,
    decode_header,
    validators_hash,
)
from ledger.errors import ProofError
from ledger.light import verify_certificate
from ledger.types import Address, Hash32, Height

FindOverride = Callable[[Height], tuple[Address, ...] | None]

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
    for raw, raw_certificate, members in rows:
        header = decode_header(raw)
        if header.number != parent.number + 1 or header.parent_hash != parent.hash:
            raise ProofError(f"header {header.number} does not follow block {parent.number}")
        if header.timestamp < parent.timestamp:
            raise ProofError(f"header {header.number} has an earlier time than its parent")
        certificate = decode_certificate(raw_certificate)
        validators = find_override(header.number) or validators
        links.append(Link(header, raw, raw_certificate, certificate, validators))
        if header.mix_hash != header.extra_data:
            validators = read_members(members)
            if validators_hash(validators) != header.mix_hash:
                raise ProofError(f"header {header.number} names other validators than come with it")
        parent = header
    return links, Trusted(parent, validators)


def read_members(members: bytes) -> tuple[Address, ...]:
    """Addresses of 20 bytes each, one after the other. Raises ProofError."""
    if len(members) % 20 or len(members) > 20 * VALIDATORS_MAX:
        raise ProofError("validators are addresses of 20 bytes, at most 100 of them")
    return tuple(members[start : start + 20] for start in range(0, len(members), 20))


def verify_links(
    links: Sequence[Link], chain_id: int, genesis_hash: Hash32, own: Address
) -> Height:
    """Check every certificate; the highest block that `own` signed, -1 if none. ProofError."""
    signed = -1
    for link in links:
        signers = verify_certificate(
            link.header, link.certificate, link.validators, chain_id, genesis_hash
        )
        if own in signers:
            signed = link.header.number
    return signed


async def verify_on_threads(
    links: Sequence[Link],
    chain_id: int,
    genesis_hash: Hash32,
    own: Address,
    executor: Executor | None,
) -> Height:
    """As `verify_links`, in parts on the executor."""
    loop = asyncio.get_running_loop()
    parts = [
        links[start : start + CERTIFICATES_PER_TASK]
        for start in range(0, len(links), CERTIFICATES_PER_TASK)
    ]
    signed = await asyncio.gather(
        *(
            loop.run_in_executor(executor, verify_links, part, chain_id, genesis_hash, own)
            for part in parts
        )
    )
    return max(signed, default=-1)
