"""Sets that several commands share."""

from services.dispatch.domain.work_order import (
    Part,
    Status,
)

LEAD = frozenset({Part.LEAD})
CENTRE = frozenset({Part.CENTRE})
HANDLING = frozenset({Status.ACCEPTED, Status.REOPENED})
UNFINISHED = frozenset(
    {Status.PENDING, Status.DISPATCHED, Status.ACCEPTED, Status.REOPENED, Status.SUSPENDED, Status.DISPUTED}
)
