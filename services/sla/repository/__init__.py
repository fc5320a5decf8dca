"""The SQL of sla."""

from services.sla.repository.clock_sets import (
    Row,
    find,
    lamps,
    lock,
    lock_free,
    lock_or_create,
    lock_running,
    running_page,
    save,
    sets_without_timer,
)
from services.sla.repository.ledger import shares, suspensions_of
from services.sla.repository.rules import move_answer, moves_of, record_moves
from services.sla.repository.supervisions import (
    climb,
    lock_unnoticed,
    raise_supervisions,
    something_is_late,
    supervision_answer,
    supervisions_of,
    tell_late,
    withdraw_supervisions,
)

__all__ = [
    "Row",
    "climb",
    "find",
    "lamps",
    "lock",
    "lock_free",
    "lock_or_create",
    "lock_running",
    "lock_unnoticed",
    "move_answer",
    "moves_of",
    "raise_supervisions",
    "record_moves",
    "running_page",
    "save",
    "sets_without_timer",
    "shares",
    "something_is_late",
    "supervision_answer",
    "supervisions_of",
    "suspensions_of",
    "tell_late",
    "withdraw_supervisions",
]
