"""Contracts to build on, written in the contract language; `ledger.contract` re-exports them."""
