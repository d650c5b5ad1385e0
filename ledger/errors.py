"""Every error the ledger raises, in one tree. A name says who erred; fields carry the values.

    LedgerError
    ├── EncodingError            bytes or text that do not decode: RLP, ABI, hex, msgpack
    │   └── MessageTooLarge      longer than the named limit of its kind
    ├── CryptoError
    │   ├── InvalidKey           not a private or public key of the curve, or a bad address
    │   ├── InvalidSignature     out of range, high s, or recovers to nobody
    │   └── KeystoreError        a key file that cannot be read
    │       └── WrongPassword
    ├── ProofError               a Merkle proof or certificate that does not prove its claim
    ├── InvalidTransaction       the sender erred; `code` and `text` are those a geth user knows
    │   ├── WrongChainId, NonceTooLow, NonceTooHigh, InsufficientFunds, IntrinsicGasTooLow
    │   ├── GasLimitExceeded, CodeLimitExceeded, FeeTooLow, AlreadyKnown
    │   └── ReplacementUnderpriced, PoolFull, NotPermitted, TransactionTooLarge
    ├── InvalidBlock             the proposer erred
    │   └── BlockNotYet          ahead of our clock: it waits and is never condemned
    ├── InvalidMessage           a validator or peer erred in what it says about a block
    ├── ContractRejected         a contract's source breaks a rule (rule, line, column, text, hint)
    ├── BranchesFull             another branch is too long to be followed
    ├── UnknownRules             the network's rules are newer than this program
    ├── GenesisError             a network file that cannot be a network
    └── StoreError               the disk erred
        ├── DiskFull
        ├── BlockPruned          its body is not kept here any more
        └── WrongNetwork         the data folder belongs to another network

What a contract does while it runs (revert, panic, out of gas) is an outcome, never one of these.
"""


class LedgerError(Exception):
    """The root. Its text is safe to show to a user."""


class EncodingError(LedgerError):
    """Bytes or text that do not decode to what was asked for."""


class MessageTooLarge(EncodingError):
    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(f"{what} has {size} bytes, at most {limit} are allowed")
        self.size = size
        self.limit = limit


class CryptoError(LedgerError):
    """The root of what keys and signatures can do wrong."""


class InvalidKey(CryptoError):
    """No private or public key of the curve, or a text that is no address."""


class InvalidSignature(CryptoError):
    """Out of range, with a high s, or made by nobody."""


class KeystoreError(CryptoError):
    """A key file that cannot be read."""


class WrongPassword(KeystoreError):
    def __init__(self) -> None:
        super().__init__("wrong password for this key file")


class ProofError(LedgerError):
    """A Merkle proof or a certificate that does not prove its claim."""


class InvalidTransaction(LedgerError):
    """A transaction that cannot be taken; `code` is the JSON-RPC error code of its kind."""

    code = -32000


class WrongChainId(InvalidTransaction):
    def __init__(self, got: int, expected: int) -> None:
        super().__init__(f"invalid chain id: the transaction has {got}, this chain is {expected}")


class NonceTooLow(InvalidTransaction):
    def __init__(self, sender: str, nonce: int, next_nonce: int) -> None:
        super().__init__(f"nonce too low: address {sender}, tx: {nonce} state: {next_nonce}")


class NonceTooHigh(InvalidTransaction):
    def __init__(self, sender: str, nonce: int, next_nonce: int) -> None:
        super().__init__(f"nonce too high: address {sender}, tx: {nonce} state: {next_nonce}")


class InsufficientFunds(InvalidTransaction):
    def __init__(self, sender: str, balance: int, cost: int) -> None:
        super().__init__(
            "insufficient funds for gas * price + value: "
            f"address {sender} have {balance} want {cost}"
        )


class IntrinsicGasTooLow(InvalidTransaction):
    def __init__(self, gas: int, needed: int) -> None:
        super().__init__(f"intrinsic gas too low: have {gas}, want {needed}")


class GasLimitExceeded(InvalidTransaction):
    text = "exceeds block gas limit: tx gas {}, limit {}"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(self.text.format(size, limit))


class CodeLimitExceeded(GasLimitExceeded):
    text = "exceeds the block's room for code: {} bytes of sources called, limit {}"


class FeeTooLow(InvalidTransaction):
    def __init__(self, fee: int, base_fee: int) -> None:
        super().__init__(
            f"max fee per gas less than block base fee: maxFeePerGas: {fee}, baseFee: {base_fee}"
        )


class ReplacementUnderpriced(InvalidTransaction):
    def __init__(self, price: int, needed: int) -> None:
        super().__init__(f"replacement transaction underpriced: have {price}, want {needed}")


class AlreadyKnown(InvalidTransaction):
    def __init__(self) -> None:
        super().__init__("already known")


class PoolFull(InvalidTransaction):
    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"txpool is full: {what} may hold {limit}")


class NotPermitted(InvalidTransaction):
    def __init__(self, sender: str, what: str) -> None:
        super().__init__(f"account {sender} is not permitted to {what} on this network")


class TransactionTooLarge(InvalidTransaction):
    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"oversized data: transaction size {size}, limit {limit}")


class InvalidBlock(LedgerError):
    """A block that no honest proposer would have made."""


class BlockNotYet(InvalidBlock):
    def __init__(self, timestamp: int, now: int) -> None:
        super().__init__(f"block time {timestamp} is ahead of our clock, {now}")
        self.timestamp = timestamp


class InvalidMessage(LedgerError):
    """A consensus message, well formed and signed, that no honest validator or peer would send."""


class ContractRejected(LedgerError):
    """A contract source that breaks a rule of the language; nothing is deployed."""

    def __init__(self, rule: str, line: int, column: int, text: str, hint: str) -> None:
        super().__init__(f"line {line}, column {column}: {rule}: {text!r}: {hint}")
        self.rule = rule
        self.line = line
        self.column = column
        self.text = text
        self.hint = hint


class BranchesFull(LedgerError):
    def __init__(self, blocks: int) -> None:
        super().__init__(
            f"a branch of more than {blocks} blocks cannot be followed from here: if the network "
            "is on it, stop this node, remove its data folder and start it again"
        )


class UnknownRules(LedgerError):
    def __init__(self, height: int, version: int, known: int) -> None:
        super().__init__(
            f"from block {height} on the network keeps rules version {version}, this program "
            f"knows up to {known}: install a newer Wattledger on this node"
        )
        self.height = height
        self.version = version


class GenesisError(LedgerError):
    """Settings that cannot be a network; the text names the key and what was expected."""


class StoreError(LedgerError):
    """The disk erred, or was asked for what it does not hold."""


class DiskFull(StoreError):
    """Nothing was written; space is what lacks."""


class BlockPruned(StoreError):
    def __init__(self, height: int) -> None:
        super().__init__(
            f"block {height}: this node keeps its header alone (store.bodies_days, or it joined "
            "by a snapshot); ask a node that keeps all blocks"
        )
        self.height = height


class WrongNetwork(StoreError):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(
            f"this data folder belongs to network {found}, the network file says {expected}"
        )
