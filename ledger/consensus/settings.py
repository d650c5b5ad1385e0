"""What an engine is told once, at its start."""

from dataclasses import dataclass

from ledger.types import Hash32

DOUBLINGS_MAX = 20  # of the base timeout; the cap is reached long before


@dataclass(frozen=True, slots=True)
class Settings:
    """Of the chain, but for `sign_without_record`: the operator of one of at most two validators
    whose signer record is missing says that it may sign all the same."""

    chain_id: int
    genesis_hash: Hash32
    round_timeout_ms: int
    round_timeout_ms_max: int
    block_period_ms: int
    empty_block_period_s: int = 0
    sign_without_record: bool = False

    def compute_timeout_ms(self, round_: int) -> int:
        """base * 2^round, capped: without a cap one network's reached 4,096 s."""
        doubled = self.round_timeout_ms << min(round_, DOUBLINGS_MAX)
        return min(doubled, self.round_timeout_ms_max)
