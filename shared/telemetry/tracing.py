"""Trace context (W3C) of the work at hand: it travels in events and answers.

OpenTelemetry's API is used; without a configured exporter spans cost nothing and the context still flows.
"""

import contextvars
import re
from random import getrandbits

from opentelemetry import trace

_PATTERN = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_traceparent: contextvars.ContextVar[str | None] = contextvars.ContextVar("traceparent", default=None)


def new_traceparent() -> str:
    """A fresh, unsampled-by-us trace context."""
    return f"00-{getrandbits(128):032x}-{getrandbits(64):016x}-01"


def accept_traceparent(given: str | None) -> str:
    """Take over the caller's context when it is well formed, else start one; it is current from here on."""
    value = given if given and _PATTERN.fullmatch(given) else new_traceparent()
    _traceparent.set(value)
    return value


def act_for(traceparent: str | None) -> None:
    """From here on the work at hand is that of `traceparent`, the context of somebody who waits for it."""
    _traceparent.set(traceparent)


def current_traceparent() -> str | None:
    """The context to write into headers, or None outside any work."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    return _traceparent.get()
