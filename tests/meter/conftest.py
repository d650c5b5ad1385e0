"""A sender in a hurry."""

import pytest

from meter import submit


@pytest.fixture
def quick_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become milliseconds; what is tested is order, not duration."""
    monkeypatch.setattr("meter.rpc.BACKOFF_S", 0.001)
    monkeypatch.setattr("meter.rpc.BACKOFF_S_MAX", 0.02)
    monkeypatch.setattr(submit, "POLL_MS_MAX", 10)
    monkeypatch.setattr(submit, "REFUSED_WAIT_S", 0.01)
    monkeypatch.setattr(submit, "PENDING_WAIT_S", 0.2)
    monkeypatch.setattr(submit, "DISK_WAIT_S", 0.01)
