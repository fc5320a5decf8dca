"""Folders for servers that run as another user."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder outside pytest's own: under root PostgreSQL runs as a user of its own, who must pass through all folders
    above, and every starting pytest closes the one that all pytest runs of a user share."""
    with tempfile.TemporaryDirectory(prefix="sushu-test-") as folder:
        yield Path(folder)
