"""Any OpenAI-compatible endpoint over HTTP: bounded in time and size, and left alone while it fails."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx

from services.classify.domain.advice import Advice, Question, Refused, read
from services.classify.settings import LanguageModel
from shared.clock import loop_time

log = logging.getLogger(__name__)

LARGEST_ANSWER = 64 * 1024
FAILURES = 5
"""so many in a row and it is left alone"""
PAUSE_S = (30.0, 600.0)


class Unavailable(Exception):
    """No answer now; the case may be asked about later."""

    outcome = "failed"


class Endpoint:
    """Asks the model, unless it has just failed too often."""

    def __init__(self, chosen: LanguageModel, key: str) -> None:
        self.model = chosen.model
        self.timeout_s = chosen.timeout_s
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url = chosen.url.rstrip("/") + "/chat/completions"
        self._client = httpx.AsyncClient(headers=headers, timeout=chosen.timeout_s, trust_env=False)
        self._failures = 0
        self._closed_until = 0.0

    @property
    def open(self) -> bool:
        """Whether asking makes sense now."""
        return loop_time() >= self._closed_until

    async def ask(self, question: Question) -> Advice:
        """Raises `Unavailable` or `Refused`."""
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await self._post(question.request(self.model))
        except (httpx.HTTPError, TimeoutError, Unavailable) as error:
            self._failed()
            raise Unavailable(f"{type(error).__name__}: {error}"[:200]) from error
        advice = read(answer, question)
        self._failures = 0
        return advice

    async def _post(self, body: dict[str, Any]) -> bytes:
        async with self._client.stream("POST", self._url, json=body) as response:
            if response.status_code != 200:
                raise Unavailable(f"status {response.status_code}")
            answer = bytearray()
            async for piece in response.aiter_bytes():
                answer += piece
                if len(answer) > LARGEST_ANSWER:
                    raise Refused(f"an answer of more than {LARGEST_ANSWER} bytes")
            return bytes(answer)

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            first, longest = PAUSE_S
            pause = min(longest, first * 2.0 ** (self._failures - FAILURES))
            self._closed_until = loop_time() + pause
            log.warning("the language model is left alone", extra={"model": self.model, "seconds": pause})

    async def close(self) -> None:
        await self._client.aclose()
