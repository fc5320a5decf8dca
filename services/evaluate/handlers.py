"""What evaluate keeps of each stream. Every handler is one or two statements for the whole batch."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from services.evaluate import facts, repository
from services.evaluate.formula import Formula
from services.evaluate.publishing.snapshot import formula_facts
from services.evaluate.tables import LIVE
from shared.db import audit
from shared.errors import Problem
from shared.events.catalog import clocks, labels, ratings, signs, work_orders
from shared.events.event import Message
from shared.outbox.uow import Uow


class Handlers:
    """`zone`: the platform's, months are counted in it."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone

    async def on_ratings(self, batch: Sequence[Message[ratings.FeedbackEvent]], uow: Uow) -> None:
        """The latest state of each feedback."""
        await facts.keep_ratings(uow.pg, LIVE, batch, self.zone)

    async def on_orders(self, batch: Sequence[Message[work_orders.WorkOrderEvent]], uow: Uow) -> None:
        """Dispatches, returns, 推诿, repeats, who the units are; completions."""
        await facts.keep_orders(uow.pg, LIVE, batch, self.zone)
        await facts.keep_completions(uow.pg, batch, self.zone)

    async def on_clocks(self, batch: Sequence[Message[clocks.ClockEvent]], uow: Uow) -> None:
        """Orders that became late."""
        await facts.keep_clocks(uow.pg, LIVE, batch)

    async def on_labels(self, batch: Sequence[Message[labels.LabelEvent]], uow: Uow) -> None:
        """The tags of each label, and what they are called."""
        await facts.keep_labels(uow.pg, LIVE, batch)
        await facts.keep_tag_names(uow.pg, batch)

    async def on_signs(self, batch: Sequence[Message[signs.SignFound]], uow: Uow) -> None:
        """What feedback saw in ratings."""
        await facts.keep_rating_signs(uow.pg, batch)

    async def on_formulas(self, commands: Sequence[tuple[Formula, str]], uow: Uow) -> list[dict[str, Any] | Problem]:
        """Add versions of the score: (formula, who). A known version or start is refused."""
        answers: list[dict[str, Any] | Problem] = []
        for formula, actor in commands:
            if await repository.add_formula(uow.pg, formula, actor, uow.clock.now()):
                body = formula_facts(formula)
                await audit.record(uow, actor=actor, action="formula.added", subject=formula.version, detail=body)
                answers.append(body)
            else:
                detail = "This version, or one from the same month, is known; versions are never changed."
                answers.append(Problem(409, "formula_exists", detail))
        return answers
