"""evaluate.evaluations.v1: published months. Key: the period (YYYY-MM). Owner: evaluate."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class ScoreFormula(Snapshot, frozen=True, kw_only=True):
    """The version of the score that a month was published with, whole: who rebuilds it needs nothing else."""

    version: str
    effective_from: str
    """the first period (YYYY-MM) it scores"""
    expression: str
    min_asked: int
    """units with fewer asked appeals are not ranked"""
    purpose: str = "score"
    """score, or incentive: what is computed"""


class LastThreeTimes(Snapshot, frozen=True, kw_only=True):
    """A unit among the last tenth three periods in a row."""

    unit: str
    name: str
    region_code: str
    periods: list[str]
    """the three, the oldest first"""
    ranks: list[int]
    """its rank in each of them"""


class Evaluation(Snapshot, frozen=True, kw_only=True):
    """A published month."""

    platform: str
    period: str
    position: int
    """the last position of the journal that was counted"""
    format: int
    """of the document"""
    formula: ScoreFormula
    digest: str
    """SHA-256, in hexadecimal, of the snapshot's canonical bytes"""
    corrections: int
    """how many corrections of earlier months it states"""
    published_at: datetime
    warnings: list[LastThreeTimes] = msgspec.field(default_factory=list)
    incentive: ScoreFormula | None = None
    """by which the month's incentives are computed; None in format 1"""


class EvaluationEvent(Event, frozen=True, kw_only=True):
    """Any fact of a period's evaluation."""

    topic: ClassVar[str] = "evaluate.evaluations.v1"
    after: Evaluation


class EvaluationPublished(EvaluationEvent, frozen=True, kw_only=True):
    """The month is frozen; nothing changes it any more."""

    type: ClassVar[str] = "evaluation.published"


class EvaluationUnitWarned(EvaluationEvent, frozen=True, kw_only=True):
    """专项督办: a unit was among the last tenth in three published periods in a row."""

    type: ClassVar[str] = "evaluation.unit_warned"
    warning: LastThreeTimes
