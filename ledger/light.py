"""What can be known of a chain without running it: headers by certificate, values by proof.

Light rule: from a trusted header h a later k is accepted if extraData(k) = mixHash(h) and a quorum
of that set signed k; where the two differ, the headers at which the set changed are walked. At the
height of an override the network file's set decides, and that header is walked too. Nothing
is fetched here and no node is believed: what is wrong raises ProofError, which says what.
Source: DESIGN.md section 2 (certificate, light rule).
"""

from collections.abc import Sequence

from ledger.block import Certificate, Header, commit_digest, quorum, validators_hash
from ledger.crypto.keccak import keccak256
from ledger.crypto.secp256k1 import recover_address_compact
from ledger.encoding import rlp
from ledger.errors import EncodingError, InvalidBlock, InvalidSignature, ProofError
from ledger.genesis import Override
from ledger.state.account import Account, decode_account
from ledger.trie.proof import verify_proof
from ledger.types import Address, Hash32, Height, Slot, Word
from ledger.work import check_work

WORD_BYTES = 32


def verify_certificate(
    header: Header,
    certificate: Certificate,
    validators: Sequence[Address],
    chain_id: int,
    genesis_hash: Hash32,
) -> set[Address]:
    """Check that a quorum of `validators`, the set that the header names, committed the header.

    Every signature must be of another member: one of a stranger, a second of the same member or one
    with a high s spoils the certificate. More signatures than members are refused before any is
    recovered. Returns who signed. Raises ProofError.
    """
    where = f"certificate of block {header.number}"
    if certificate.height != header.number or certificate.block_hash != header.hash:
        raise ProofError(f"{where}: it is for another block, {certificate.height}")
    if validators_hash(validators) != header.extra_data:
        raise ProofError(f"{where}: these are not the validators that the header names")
    members = set(validators)
    if len(certificate.signatures) > len(members):
        raise ProofError(
            f"{where}: {len(certificate.signatures)} signatures of {len(members)} validators"
        )
    if len(certificate.signatures) < quorum(len(members)):
        raise ProofError(
            f"{where}: {len(certificate.signatures)} signatures, "
            f"{quorum(len(members))} of {len(members)} validators are needed"
        )
    digest = commit_digest(
        chain_id, genesis_hash, header.number, certificate.round, certificate.block_hash
    )
    signers: set[Address] = set()
    for signature in certificate.signatures:
        try:
            signer = recover_address_compact(digest, signature)
        except InvalidSignature as error:
            raise ProofError(f"{where}: {error}") from error
        if signer not in members:
            raise ProofError(f"{where}: 0x{signer.hex()} signed it, who is no validator of it")
        if signer in signers:
            raise ProofError(f"{where}: 0x{signer.hex()} signed it twice")
        signers.add(signer)
    return signers


class LightClient:
    """Follows a chain by its certificates from a network file or a header trusted before.

    `validators` is V_1 of the network file; with `trusted` it starts from that header instead.
    `trusting_period_s`: no header is accepted on the word of validators who stood in an older one
    than this, for they may have left and sold their keys; None trusts them for ever.
    """

    def __init__(
        self,
        chain_id: int,
        genesis_hash: Hash32,
        validators: Sequence[Address],
        *,
        trusted: Header | None = None,
        trusting_period_s: int | None = None,
        overrides: Sequence[Override] = (),
    ) -> None:
        self.chain_id = chain_id
        self.genesis_hash = genesis_hash
        self.trusting_period_s = trusting_period_s
        self.overrides = overrides
        self.header = trusted
        self.next_validators_hash = trusted.mix_hash if trusted else validators_hash(validators)

    @property
    def height(self) -> Height:
        """Of the newest header accepted; 0 before the first."""
        return self.header.number if self.header else 0

    def needs_change(self, header: Header) -> bool:
        """Whether the set changed before this header: the changes must then be followed first."""
        override = self._find_override(header.number)
        if override is not None:
            return header.number != override.height
        return header.extra_data != self.next_validators_hash

    def _find_override(self, height: Height) -> Override | None:
        """The first override that lies between what is trusted and this height, ends included."""
        return next((one for one in self.overrides if self.height < one.height <= height), None)

    def follow(
        self,
        header: Header,
        certificate: Certificate,
        validators: Sequence[Address],
        now_s: int | None = None,
    ) -> None:
        """Accept a later header; `validators`, from anybody, must be the set expected next.

        `now_s`, Unix seconds, is needed where there is a trusting period. Raises ProofError, and
        trusts what it trusted before.
        """
        if header.number <= self.height:
            raise ProofError(f"block {header.number} is not after block {self.height}")
        if self.header is not None and header.timestamp < self.header.timestamp:
            raise ProofError(f"block {header.number} has an earlier time than block {self.height}")
        if self.needs_change(header):
            raise ProofError(
                f"the validators of block {header.number} are not those that block {self.height} "
                "names for the next: follow the blocks at which they changed first"
            )
        override = self._find_override(header.number)
        if override is not None and validators_hash(override.validators) != header.extra_data:
            raise ProofError(
                f"block {header.number} is not decided by the validators whom the override in the "
                "network file names"
            )
        if self.trusting_period_s is not None and self.header is not None:
            if now_s is None:
                raise ProofError("a trusting period needs the time")
            if now_s - self.header.timestamp > self.trusting_period_s:
                raise ProofError(
                    f"block {self.height} is older than {self.trusting_period_s} s: its validators "
                    "are no longer trusted; take a newer header from somebody you trust"
                )
        verify_certificate(header, certificate, validators, self.chain_id, self.genesis_hash)
        self.header = header
        self.next_validators_hash = header.mix_hash


class WorkClient:
    """Follows a mined chain from genesis, header by header: what it shows is work, never finality.

    `header` is the newest one, `work` the hashes that its branch took on average. Another branch,
    not shown, may have more.
    """

    def __init__(self, genesis_header: Header) -> None:
        self.genesis = self.header = genesis_header

    @property
    def work(self) -> int:
        return self.genesis.difficulty * self.header.number

    def follow(self, header: Header) -> None:
        """Accept the next header. Raises ProofError, and keeps what it had."""
        last = self.header
        where = f"block {header.number}"
        if header.parent_hash != last.hash or header.number != last.number + 1:
            raise ProofError(f"{where} does not follow block {last.number}")
        if header.timestamp < last.timestamp:
            raise ProofError(f"{where} has an earlier time than block {last.number}")
        if header.extra_data != self.genesis.hash:
            raise ProofError(f"{where} is of another network: its extraData is not our genesis")
        try:
            check_work(header, self.genesis.difficulty)
        except InvalidBlock as error:
            raise ProofError(str(error)) from error
        self.header = header


def verify_account(state_root: Hash32, address: Address, proof: Sequence[bytes]) -> Account | None:
    """The account under a state root; None if the proof shows that there is none. ProofError."""
    leaf = verify_proof(state_root, keccak256(address), proof)
    if leaf is None:
        return None
    try:
        return decode_account(leaf)
    except EncodingError as error:
        raise ProofError(f"the leaf at 0x{address.hex()} is no account: {error}") from error


def verify_storage(storage_root: Hash32, slot: Slot, proof: Sequence[bytes]) -> Word:
    """What a slot of the contract with this storage root holds; 0 if nothing. Raises ProofError."""
    leaf = verify_proof(storage_root, keccak256(slot), proof)
    if leaf is None:
        return 0
    try:
        word = rlp.decode(leaf)
        if not isinstance(word, bytes) or len(word) > WORD_BYTES:
            raise EncodingError("it is longer than a word")
        return rlp.decode_uint(word)
    except EncodingError as error:
        raise ProofError(f"the leaf at slot 0x{slot.hex()} is no word: {error}") from error
