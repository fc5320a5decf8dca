"""Rare writes of those who keep catalogue and tags: one job is one transaction, its Problem rolls everything back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastapi.responses import JSONResponse

from shared.errors import Problem
from shared.http.commands import Answer, CommandQueue, IdempotencyKey
from shared.outbox.uow import Uow

Job = Callable[[Uow], Awaitable[Answer]]


async def run_jobs(jobs: Sequence[Job], uow: Uow) -> list[Answer | Problem]:
    """For a queue with `largest=1`."""
    return [await job(uow) for job in jobs]


async def created(jobs: CommandQueue[Job], job: Job, key: IdempotencyKey | None) -> JSONResponse:
    """201 with the job's answer; 200 when an equal call was answered before."""
    outcome = await jobs.submit(job, key)
    return JSONResponse(outcome.answer, status_code=200 if outcome.repeated else 201)
