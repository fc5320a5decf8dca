"""uvicorn beside other things in one event loop: its owner handles the signals."""

import contextlib
from collections.abc import Iterator

import uvicorn


class EmbeddedServer(uvicorn.Server):
    """Serves until `should_exit` is set; leaves SIGINT and SIGTERM to its owner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
