"""The embedded transport: the log lives in PostgreSQL (schema `bus`), for a laptop or a small city.

`log.py` appends and remembers, `member.py` is a member of a consumer group.
"""

from shared.transport.embedded.log import EmbeddedTransport

__all__ = ["EmbeddedTransport"]
