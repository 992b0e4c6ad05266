"""Where the real files for tests lie, for those who have them; a clone without them skips."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared_data(relative: str) -> Path:
    """Path of a shared test file or folder; skips the test where it is absent."""
    path = FOLDER / relative
    if not path.exists():
        pytest.skip(f"real test data not present: {relative}")
    return path
