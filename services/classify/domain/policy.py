"""Decisions on top of the likeliest matter: handling class, kind, review (domain.md, Classification)."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

from services.classify.domain.bounds import out_of_bounds
from services.classify.domain.catalogue import Catalogue, HandlingClass, Kind, Matter
from services.classify.domain.labels import UNSURE, Candidate, Label, ReviewReason, Tag
from services.classify.domain.safety import clause, names_no_danger, safety_hits

_CUES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (
        Kind.PRAISE,
        re.compile(
            r"表扬|感谢(?!.{0,30}(?:核实|处理|解决|尽快))|点个?赞|锦旗|拾金不昧|致谢|谢谢[^，。！]{2,20}(?:抢修|帮助|帮忙|及时|很好|很快)"
        ),
    ),
    (
        Kind.SUGGESTION,
        re.compile(
            r"建议|提个?意见|希望(?:能)?(?:增设|增加|延长|开通|优化|加装|设置)|能否考虑|能不能(?:增设|增加|加装|设置)"
        ),
    ),
    (
        Kind.CONSULT,
        re.compile(
            r"咨询|请问|想问|问一下|想了解|(?:怎么|如何|在哪里?|哪里)(?:办|申请|领|补|报|交|查|缴|开通|认证)|什么条件|什么材料|能不能"
            r"|麻烦告知|不知道[^，。]{0,15}(?:流程|手续|怎么|在哪)"
        ),
    ),
    (Kind.REPORT, re.compile(r"举报|检举|(?:私自|偷偷|无证|黑车|黑诊所|赌博|传销)[^。]{0,20}查处")),
    (
        Kind.COMPLAINT,
        re.compile(
            r"投诉|扰民|不作为|太差|不退|拖欠|态度恶劣|不满意|重新处理|推卸|推诿|骂人|过期|欺骗|乱收费|甩客|拒载|霸王条款"
        ),
    ),
    (
        Kind.HELP,
        re.compile(
            r"求助|救救|帮帮|帮忙|快来|急需|派人|(?:尽快|麻烦)[^，。]{0,4}修|请[^，。]{0,6}(?:维修|抢修|疏通|修复)"
        ),
    ),
)
"""from the most telling to the least: a person who asks to praise or to suggest says so"""


def kind_of(text: str, matter: Matter | None) -> Kind:
    """The kind that the words show; without a cue the usual kind of the matter."""
    for kind, cue in _CUES:
        if cue.search(text):
            return kind
    return matter.kind if matter is not None else Kind.OTHER


def decide(
    text: str,
    candidates: Sequence[Candidate],
    tags: Sequence[Tag],
    *,
    catalogue: Catalogue,
    threshold: float,
    model: str,
    degraded: bool,
    kind: Kind | None = None,
    lowered: Container[str] = (),
) -> Label:
    """Turn candidates into a label.

    `threshold` is `auto_dispatch_threshold` of the city profile (0–1): at or above it the label stands, below it a
    person reviews it. Safety words raise the class to urgent; what only the words or only the model call urgent is
    reviewed beside. `kind` as given by intake wins over the words. `lowered`: sentences with safety words that persons
    judged to be no danger (`safety.clause`): such a one raises nothing, and a person looks again. Nor does a model
    where the words deny the danger that they name.
    """
    best = catalogue.get(candidates[0].code) if candidates else None
    handling_class = best.handling_class if best is not None else HandlingClass.GENERAL
    said = safety_hits(text)
    hits = [hit for hit in said if clause(text, hit) not in lowered]
    review: ReviewReason | None = None
    if said and not hits:
        review = ReviewReason.LOWERED_BEFORE
    if hits:
        if handling_class is not HandlingClass.URGENT:
            review = ReviewReason.SAFETY_WORD
        handling_class = HandlingClass.URGENT
    if not candidates or candidates[0].probability < threshold:
        review = ReviewReason.DEGRADED if degraded else ReviewReason.LOW_CONFIDENCE
    if handling_class is HandlingClass.URGENT and not hits:
        if review is None:
            # the model knows what is spoken of, not whether it is over or only feared ("已经不漏气了")
            review = ReviewReason.DANGER_DENIED if names_no_danger(text) else ReviewReason.URGENT_BY_MODEL
        if review is not ReviewReason.URGENT_BY_MODEL:
            # a guess alone raises no alarm: without danger in the words a person looks, within the livelihood clock
            handling_class = HandlingClass.LIVELIHOOD
    if (review is None or review in UNSURE) and out_of_bounds(text) is not None:
        review = ReviewReason.OUT_OF_BOUNDS  # proposed, never decided: a person declines or keeps it
    return Label(
        matter=best.code if best is not None else None,
        candidates=tuple(candidates),
        tags=tuple(tags),
        handling_class=handling_class,
        kind=kind or kind_of(text, best),
        dimension=best.dimension if best is not None else None,
        model=model,
        degraded=degraded,
        review=review,
        safety=tuple(hits),
    )
