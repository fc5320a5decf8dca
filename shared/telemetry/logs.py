"""Logs as JSON lines with the trace of the work at hand. Messages are fixed words; data go into fields.

Fields hold ids, codes and figures, never a citizen's words; error texts are cut so that they cannot smuggle a body.
"""

import logging
import sys

import structlog

from shared.telemetry.tracing import current_traceparent

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
ERROR_CHARS = 300
QUIET_S = 5.0
"""a line of Kafka's client is not said again for so long: while its broker is away it says the same ten times a second,
and the work of saying it keeps the broker from coming back"""


class Seldom(logging.Filter):
    """Lets each line pass once in `QUIET_S`. Belongs to a handler: what children of a logger say passes its filters
    by."""

    def __init__(self, logger: str) -> None:
        super().__init__(logger)
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line of this logger, or of its children, that was said just now."""
        if not super().filter(record):
            return True
        line = record.getMessage()
        if record.created < self._said.get(line, 0.0) + QUIET_S:
            return False
        if len(self._said) > 1000:
            self._said.clear()
        self._said[line] = record.created
        return True


def _extra(_logger: object, _name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        for name, value in record.__dict__.items():
            if name not in _OWN and not name.startswith("_"):
                event[name] = value
    if isinstance(event.get("error"), str):
        event["error"] = event["error"][:ERROR_CHARS]
    traceparent = current_traceparent()
    if traceparent:
        event["traceparent"] = traceparent
    return event


def configure(level: str, service: str) -> None:
    """Send every log line of the process to stderr as JSON."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _extra,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # without the values of local variables: they would hold citizens' words and tokens
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(Seldom("aiokafka"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn.access", "aiokafka", "httpx", "asyncio", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(service=service)
