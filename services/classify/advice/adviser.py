"""Asks a language model about cases that wait for a person, beside everything else: no appeal ever waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import Counter

from services.classify import repository
from services.classify.advice.endpoint import Endpoint, Unavailable
from services.classify.domain.advice import MOST_TOKENS, Advice, Question, Refused
from services.classify.domain.labels import UNSURE
from services.classify.labelling import Case
from services.classify.settings import LanguageModel
from services.classify.tables import advice, labels
from shared.clock import ZONE
from shared.db import bulk
from shared.db.database import Database
from shared.errors import Transient
from shared.redaction import clean

log = logging.getLogger(__name__)

ASKED = Counter("sushu_llm_questions_total", "Questions to the language model by what came of them", ["outcome"])

Answer = Advice | Refused | Unavailable

AT_ONCE = 4
LOOK_S = 1.0
AGAIN = timedelta(minutes=2)
TRIES = 3
_UNSURE = [reason.value for reason in UNSURE]


class Adviser:
    """The background work; every replica runs one."""

    def __init__(self, database: Database, endpoint: Endpoint, chosen: LanguageModel) -> None:
        self.database = database
        self.endpoint = endpoint
        self.tokens_per_day = chosen.tokens_per_day

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    asked = await self.ask_some()
                except Transient as trouble:
                    log.warning("advice waits", extra={"error": str(trouble)})
                    asked = 0
                if not asked:
                    await asyncio.sleep(LOOK_S)
        finally:
            await self.endpoint.close()

    async def ask_some(self) -> int:
        """Ask about the next few cases that wait for a person; returns how many."""
        if not self.endpoint.open:
            return 0
        now = datetime.now(UTC)
        async with self.database.transaction() as uow:
            affordable = (self.tokens_per_day - await _spent(uow.pg, uow.clock.now())) // MOST_TOKENS
            rows = await _claim(uow.pg, now, min(AT_ONCE, affordable)) if affordable > 0 else []
        asked = {row["appeal_id"]: _question(row) for row in rows}
        digests = {appeal_id: question.digest(self.endpoint.model) for appeal_id, question in asked.items()}
        questions = {digests[appeal_id]: question for appeal_id, question in asked.items()}
        answers: dict[str, Answer] = {**await self._known(list(questions))}
        missing = [digest for digest in questions if digest not in answers]
        given = await asyncio.gather(*(self._ask(questions[digest]) for digest in missing))
        await self._keep(digests, answers | dict(zip(missing, given, strict=True)))
        return len(rows)

    async def _known(self, digests: Sequence[str]) -> dict[str, Advice]:
        """Answers to equal questions of before: they cost nothing."""
        if not digests:
            return {}
        async with self.database.look_up() as pg:
            rows = await pg.fetch(
                f"SELECT DISTINCT ON (digest) digest, matter, why FROM {advice.fullname}"
                " WHERE digest = ANY($1) AND state = 'given'",
                digests,
            )
        return {row["digest"]: Advice(row["matter"], row["why"], 0) for row in rows}

    async def _ask(self, question: Question) -> Answer:
        try:
            found = await self.endpoint.ask(question)
        except (Refused, Unavailable) as trouble:
            ASKED.labels(trouble.outcome).inc()
            log.warning("no advice", extra={"model": self.endpoint.model, "reason": str(trouble)})
            return trouble
        ASKED.labels("given").inc()
        return found

    async def _keep(self, digests: Mapping[str, str], answers: Mapping[str, Answer]) -> None:
        """`digests` of the question about each appeal; the first appeal with a question pays for it."""
        now, rows, paid = self.database.clock.now(), [], set()
        for appeal_id, digest in digests.items():
            one = answers[digest]
            row = {"appeal_id": appeal_id, "digest": digest, "model": self.endpoint.model, "at": now}
            if isinstance(one, Advice):
                tokens = 0 if digest in paid else one.tokens
                rows.append({**row, "state": "given", "matter": one.matter, "why": clean(one.why), "tokens": tokens})
            else:
                rows.append({**row, "state": one.outcome, "matter": None, "why": str(one), "tokens": 0})
            paid.add(digest)
        if rows:
            async with self.database.transaction() as uow:
                await bulk.update(uow.pg, advice, rows, key=["appeal_id"])


async def _spent(pg: Any, now: datetime) -> int:
    midnight = now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    spent: int = await pg.fetchval(
        f"SELECT coalesce(sum(tokens), 0)::bigint FROM {advice.fullname} WHERE at >= $1", midnight
    )
    return spent


async def _claim(pg: Any, now: datetime, limit: int) -> Sequence[Mapping[str, Any]]:
    """Unsure cases without advice, the newest first: old ones are being decided already. Nobody else asks about them
    for some minutes. Whether a case is free is asked twice: between the snapshot and the lock another replica may have
    claimed it and let its lock go."""
    rows: Sequence[Mapping[str, Any]] = await pg.fetch(
        f"WITH free AS MATERIALIZED (SELECT l.appeal_id, l.title, l.text, l.label FROM {labels.fullname} l"
        f" LEFT JOIN {advice.fullname} a USING (appeal_id) WHERE l.needs_review AND l.review_reason = ANY($1)"
        " AND (a.appeal_id IS NULL OR (a.state IN ('asked', 'failed') AND a.again_at <= $2 AND a.tries < $3))"
        " ORDER BY l.appeal_id DESC LIMIT $4 FOR UPDATE OF l SKIP LOCKED),"
        f" asked AS (INSERT INTO {advice.fullname} AS a (appeal_id, state, tries, again_at, tokens)"
        " SELECT appeal_id, 'asked', 1, $5, 0 FROM free ON CONFLICT (appeal_id)"
        " DO UPDATE SET state = 'asked', tries = a.tries + 1, again_at = excluded.again_at"
        " WHERE a.state IN ('asked', 'failed') AND a.again_at <= $2 AND a.tries < $3 RETURNING appeal_id)"
        " SELECT free.* FROM free JOIN asked USING (appeal_id)",
        _UNSURE,
        now,
        TRIES,
        limit,
        now + AGAIN,
    )
    return rows


def _question(row: Mapping[str, Any]) -> Question:
    label = repository.label_from(row["label"])
    return Question(
        Case(row["title"], row["text"]).words,
        tuple((candidate.code, tuple(candidate.path)) for candidate in label.candidates),
    )
