"""Which errors of the database pass by themselves."""

import asyncpg
import pytest

from shared.db.database import is_transient
from shared.errors import Transient


@pytest.mark.parametrize(
    "error",
    [
        Transient("the bus"),
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.AdminShutdownError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.DeadlockDetectedError(),
        # what asyncpg says when the server ended the session between two statements (seen after kill -9 of PostgreSQL)
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        # what uvloop says of a connection that the network has cut
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
)
def test_trouble_that_passes(error: Exception) -> None:
    assert is_transient(error)
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    assert is_transient(wrapped)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        RuntimeError(),
        asyncpg.UniqueViolationError(),
        asyncpg.InterfaceError("the server expects 1 argument"),
    ],
)
def test_trouble_that_stays(error: Exception) -> None:
    assert not is_transient(error)
