"""Rare writes of those who keep catalogue and tags."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from shared.http.commands import CommandQueue, IdempotencyKey, Job


async def created(jobs: CommandQueue[Job], job: Job, key: IdempotencyKey | None) -> JSONResponse:
    """201 with the job's answer; 200 when an equal call was answered before."""
    outcome = await jobs.submit(job, key)
    return JSONResponse(outcome.answer, status_code=outcome.status)
