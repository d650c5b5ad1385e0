"""Catching up: headers with certificates first, then bodies from several peers, or a whole state.

follow      what is asked of whom and when: the task of a node
requests    one question and its answer; who is slow
headers     the validator set followed from what is trusted, by certificates
certificates   those that no header needed, checked before they are shown to anybody
bodies      blocks under those headers, in parallel, imported in order
snapshot    the state under one of those headers, in chunks that prove themselves
history     bodies and receipts older than a snapshot fetched, or let go after some days
serve       the other end: answers of bounded size
"""

from node.sync.follow import Sync, SyncSettings

__all__ = ["Sync", "SyncSettings"]
