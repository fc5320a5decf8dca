"""What a bulletin says: headings, sentences, tables and figures; how it looks is `markdown.py` and `pdf.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final

from services.evaluate.comparison import Comparison
from services.evaluate.domain import Counts, quotient, rounded, sides, wilson
from services.evaluate.formula import Formula
from services.evaluate.standings import Standing
from services.evaluate.words import COUNT_NAMES, RATE_NAMES, called

SHOWN: Final = ("response", "solution", "satisfaction", "on_time")
MOVED = 5
REWARDED = 20
LONGEST_NAME = 26


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; `widths` are shares of the page."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[float]


@dataclass(frozen=True, slots=True)
class Lines:
    """A plot over months: name → one value (0–100 or None) for each of `months`."""

    title: str
    months: Sequence[str]
    values: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Intervals:
    """A plot of shares with their interval, all 0–1: (name, low, value, high)."""

    title: str
    rows: Sequence[tuple[str, float, float, float]]


Part = str | Table | Lines | Intervals


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Bulletin:
    """The whole of it."""

    title: str
    subtitle: str
    sections: Sequence[Section] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Material:
    """What a bulletin is made of. `names`: unit → its name; `months`: the city's counts of the latest months, the
    oldest first, this one last; `published`: facts of the publication, None for a draft."""

    period: str
    place: str
    formula: Formula
    comparison: Comparison
    names: Mapping[str, str]
    months: Sequence[tuple[str, Counts]]
    corrections: Sequence[Mapping[str, Any]]
    published: Mapping[str, Any] | None
    incentives: tuple[Formula, Sequence[Standing]]


def compose(material: Material) -> Bulletin:
    """The bulletin of a month."""
    year, month = material.period.split("-")
    frozen = material.published
    state = (
        f"{frozen['published_at'][:10]} 发布　公式 {frozen['formula']}　摘要 {frozen['digest'][:16]}…"
        if frozen
        else "草稿：本月尚未发布，数字随时变化"
    )
    sections = [
        _overall(material),
        _ranking(material),
        _movers(material),
        _solution(material),
        _small(material),
        _incentives(material),
        *_corrected(material),
        _method(material),
    ]
    return Bulletin(f"{material.place}12345热线{year}年{int(month)}月办理情况通报", state, sections)


def _overall(material: Material) -> Section:
    counts = material.months[-1][1]
    middle = next((line["peers"]["median_score"] for line in material.comparison.lines.values()), None)
    parts: list[Part] = [
        f"本月反馈办结诉求 {counts.closed:,} 件，问到市民 {counts.asked:,} 人次；"
        + "，".join(f"{RATE_NAMES[rate]} {_rate(counts, rate)}" for rate in SHOWN)
        + f"；参评单位得分中位数 {'—' if middle is None else f'{middle:.2f}'}。"
        + f"二次办理 {counts.second_handled:,} 件，剔除评价 {counts.excluded:,} 件，"
        + f"超期工单 {counts.late:,} 件，推诿 {counts.shirked:,} 次，确认虚假办结 {counts.false_completions:,} 件。"
    ]
    if len(material.months) > 1:
        before = material.months[-2][1]
        compared = (_compared(before, counts, rate) for rate in ("response", "solution", "satisfaction"))
        parts.append(f"与上月相比：{'，'.join(compared)}。")
    parts.append(
        Table(
            ["指标", "分子", "分母", "本月", "95%区间", "上月"],
            [
                [
                    name,
                    f"{sides(counts, rate)[0]:,}",
                    f"{sides(counts, rate)[1]:,}",
                    _rate(counts, rate),
                    _interval(counts, rate),
                    _rate(material.months[-2][1], rate) if len(material.months) > 1 else "—",
                ]
                for rate, name in RATE_NAMES.items()
            ],
            [0.22, 0.15, 0.15, 0.14, 0.2, 0.14],
        )
    )
    if len(material.months) > 1:
        parts.append(
            Lines(
                f"近{len(material.months)}个月走势（%）",
                [f"{int(month[5:])}月" for month, _ in material.months],
                {RATE_NAMES[rate]: [_percent(counts, rate) for _, counts in material.months] for rate in SHOWN},
            )
        )
    return Section("总体情况", parts)


def _ranking(material: Material) -> Section:
    extra = material.comparison.lines
    ranked = [one for one in material.comparison.now if one.rank is not None]
    rows = []
    for one in ranked:
        line = extra[one.name]
        trend: dict[str, Any] = line["trend"] or {}
        move = "新"
        if trend.get("places") is not None:
            move = _places(trend["places"])
        rows.append(
            [
                f"{one.rank}{'▼' if line['last_tenth'] else ''}",
                _name(material, one.name),
                _score(one.score),
                move,
                *(
                    f"{_rate(one.counts, rate)}（{line['race'][rate] or '—'}）"
                    for rate in ("response", "solution", "satisfaction")
                ),
                f"{one.counts.asked:,}",
            ]
        )
    text = (
        f"参加排名单位 {len(ranked)} 家（问到市民不少于 {material.formula.min_asked} 人次），"
        "括号内为该项指标名次，▼ 为末位10%。"
    )
    table = Table(
        ["名次", "单位", "得分", "升降", "响应率", "解决率", "满意率", "问到"],
        rows,
        [0.075, 0.265, 0.085, 0.075, 0.145, 0.145, 0.145, 0.065],
    )
    return Section("赛马排名", [text, table])


def _places(won: int) -> str:
    if won == 0:
        return "—"
    return f"↑{won}" if won > 0 else f"↓{-won}"


def _movers(material: Material) -> Section:
    up, down = material.comparison.moved(MOVED)
    then = {one.name: one for one in material.comparison.before}
    now = {one.name: one for one in material.comparison.now}
    parts: list[Part] = []
    for title, names in (("进步较大", up), ("退步较大", down)):
        if not names:
            continue
        rows = [
            [
                _name(material, name),
                f"{then[name].rank} → {now[name].rank}",
                f"{_score(then[name].score)} → {_score(now[name].score)}",
                "；".join(_why(reason) for reason in material.comparison.reasons(name)[:3]) or "各项变化不足 0.01 分",
            ]
            for name in names
        ]
        parts.append(f"{title}的单位：")
        parts.append(Table(["单位", "名次", "得分", "主要原因（对得分的影响）"], rows, [0.28, 0.12, 0.18, 0.42]))
    return Section("升降与原因", parts or ["上月没有可比的排名。"])


def _why(reason: Mapping[str, Any]) -> str:
    return f"{called(reason['name'])} {reason['points']:+.2f}"


def _solution(material: Material) -> Section:
    """The ends of the ranking with their intervals: whose lead is more than chance."""
    ranked = [one for one in material.comparison.now if one.rank is not None]
    shown = ranked if len(ranked) <= 20 else [*ranked[:10], *ranked[-10:]]
    rows = []
    for one in shown:
        numerator, denominator = sides(one.counts, "solution")
        interval = wilson(numerator, denominator)
        if interval is not None:
            low, high = interval
            rows.append((_name(material, one.name), float(low), numerator / denominator, float(high)))
    text = "横线为解决率的95%区间（Wilson）：两家单位的区间重叠较多时，名次的差别可能只是偶然。"
    return Section(
        "解决率的把握",
        [text, Intervals("前10名与后10名的解决率（%）" if len(ranked) > 20 else "各单位解决率（%）", rows)],
    )


def _small(material: Material) -> Section:
    small = [one for one in material.comparison.now if one.rank is None and one.counts.asked > 0]
    rows = [
        [
            _name(material, one.name),
            f"{one.counts.asked}",
            _rate(one.counts, "solution"),
            _interval(one.counts, "solution"),
        ]
        for one in sorted(small, key=lambda one: (-one.counts.asked, one.name))
    ]
    if not rows:
        return Section("样本不足、不参加排名的单位", ["本月没有。"])
    half = (len(rows) + 1) // 2  # side by side: there may be hundreds
    empty = [""] * 4
    paired = [[*left, *right] for left, right in zip_longest(rows[:half], rows[half:], fillvalue=empty)]
    head, widths = ["单位", "问到", "解决率", "95%区间"], [0.25, 0.055, 0.08, 0.115]
    return Section("样本不足、不参加排名的单位", [Table([*head, *head], paired, [*widths, *widths])])


def _incentives(material: Material) -> Section:
    formula, standings = material.incentives
    ranked = [one for one in standings if one.rank is not None]
    rows = [
        [
            f"{one.rank}",
            _name(material, one.name),
            _score(one.score),
            *(f"{_rate(one.counts, rate)}" for rate in ("tag_accuracy", "on_time", "solution")),
            f"{one.counts.tags_judged:,}",
        ]
        for one in ranked[:REWARDED]
    ]
    if not rows:
        return Section("标签激励", ["本月没有单位达到样本要求。"])
    text = (
        f"激励公式（{formula.version}）：{formula.expression}。列出前{len(rows)}名，共{len(ranked)}家参加；"
        "激励分只用于评优，不影响排名得分。"
    )
    head = ["名次", "单位", "激励分", "标签准确率", "按时办结率", "解决率", "经复核标签"]
    return Section("标签激励", [text, Table(head, rows, [0.08, 0.32, 0.12, 0.13, 0.13, 0.1, 0.12])])


def _corrected(material: Material) -> list[Section]:
    if not material.corrections:
        return []
    rows = [
        [
            one["period"],
            _name(material, one["id"]),
            "；".join(
                f"{COUNT_NAMES.get(name, name)} {value}→{one['after'][name]}" for name, value in one["before"].items()
            ),
            f"{one['score_before'] or '—'} → {one['score_after'] or '—'}",
        ]
        for one in material.corrections
    ]
    text = "以下事实在该月发布之后才确定，已发布的数字不变："
    return [Section("对以往月份的更正", [text, Table(["月份", "单位", "变化", "得分"], rows, [0.12, 0.3, 0.38, 0.2])])]


def _method(material: Material) -> Section:
    parts: list[Part] = [
        f"得分公式（{material.formula.version}）：{material.formula.expression}",
        "各率的口径、分子和分母见 docs/evaluation.md；被剔除的评价不计入分子和分母，问不到和过期的不计入任何率。",
    ]
    if material.published:
        parts.append(
            f"日志位置 {material.published['position']:,}，SHA-256 {material.published['digest']}。"
            "任何人可据事件日志重算。"
        )
    return Section("口径与核对", parts)


def _name(material: Material, unit: str) -> str:
    name = material.names.get(unit) or unit
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _percent(counts: Counts, rate: str) -> float | None:
    value = quotient(counts, rate)
    return None if value is None else float(rounded(value * 100, 2))


def _rate(counts: Counts, rate: str) -> str:
    value = quotient(counts, rate)
    return "—" if value is None else f"{rounded(value * 100, 1)}%"


def _interval(counts: Counts, rate: str) -> str:
    interval = wilson(*sides(counts, rate))
    return "—" if interval is None else f"{float(interval[0]) * 100:.1f}–{float(interval[1]) * 100:.1f}%"


def _score(score: Decimal | None) -> str:
    return "—" if score is None else f"{score}"


def _compared(before: Counts, now: Counts, rate: str) -> str:
    a, b = _percent(before, rate), _percent(now, rate)
    if a is None or b is None:
        return f"{RATE_NAMES[rate]}不可比"
    change = round(b - a, 1)
    if change == 0:
        return f"{RATE_NAMES[rate]}持平"
    return f"{RATE_NAMES[rate]}{'上升' if change > 0 else '下降'} {abs(change)} 个百分点"
