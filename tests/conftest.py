"""Fixtures of all tests: one PostgreSQL server for the run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.testing import postgres

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # more threads only get into each other's way on a small machine


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server; tests make their own databases on it (`Harness.fresh(server_url, …)`)."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    with postgres.server(folder / "data") as url:
        yield url
