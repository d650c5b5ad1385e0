"""What every room's tests share: where the public vectors and real readings stand, if they do."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).parents[2] / "shared"

settings.register_profile("quick", deadline=None, max_examples=60)
settings.register_profile("deep", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def shared_path(*parts: str) -> Path:
    """A file beside the checkout; the calling test is skipped by name where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"../shared/{'/'.join(parts)} is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of vectors and readings beside the checkout."""
    return shared_path()
