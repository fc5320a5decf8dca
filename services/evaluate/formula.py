"""The language of formulas: arithmetic over a month's rates and counts, exact, and nothing else (ADR 0020).

    100 * (0.10 * response + 0.45 * solution + 0.45 * satisfaction)
        - min(20, 2 * shirked + 5 * false_completions + 0.5 * late)

Numbers, the names of rates and counts, `+ - * /`, brackets, `min(…)`, `max(…)` and `if(a < b, then, else)`. There are
no loops, powers, attributes, strings or imports to be had, because the grammar has no word for them. What is accepted
has an answer for every month: a division whose divisor may be zero is refused when the formula is uploaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from services.evaluate.domain import RATES, SCORED_COUNTS, Counts, quotient, rounded
from shared.clock import period_bounds

LONGEST = 4_000
"""characters of an expression"""
MOST_PARTS = 300
DEEPEST = 64

_GRAMMAR = r"""
?sum: product | sum "+" product -> add | sum "-" product -> subtract
?product: sign | product "*" sign -> multiply | product "/" sign -> divide
?sign: atom | "-" sign -> negate
?atom: NUMBER -> number
     | NAME -> name
     | "(" sum ")"
     | FUNCTION "(" sum ("," sum)* ")" -> call
     | "if" "(" comparison "," sum "," sum ")" -> choose
comparison: sum COMPARED sum
FUNCTION.2: /(min|max)(?![a-z0-9_])/
COMPARED: "<=" | ">=" | "==" | "!=" | "<" | ">"
NUMBER: /[0-9]{1,12}(\.[0-9]{1,6})?(?![0-9.])/
NAME: /[a-z_][a-z0-9_]*/
%ignore /[ \t\r\n]+/
"""
_PARSER: Final = Lark(_GRAMMAR, start="sum", parser="lalr", propagate_positions=True, maybe_placeholders=False)
_SYMBOLS: Final = {"LPAR": "(", "RPAR": ")", "COMMA": ",", "PLUS": "+", "MINUS": "-", "STAR": "*", "SLASH": "/"}
_WORDS: Final = {
    "NUMBER": "a number",
    "NAME": "a name",
    "FUNCTION": "min or max",
    "COMPARED": "a comparison",
    "IF": "if",
}

NAMES: Final = (*RATES, *SCORED_COUNTS)
"""what a formula may name"""
_UP_TO_ONE: Final = frozenset(RATES.keys() - {"return", "repeat"})

Range = tuple[Fraction | None, Fraction | None]
"""lowest and highest value that is possible, None = without end"""


class FormulaError(ValueError):
    """Why an expression is refused, and the place: `position` counts characters from 1."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"position {position}: {reason}")
        self.position = position
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was found to be sound. Equal when its text is."""

    text: str
    _tree: Tree[Token] = field(compare=False, repr=False)
    names: tuple[str, ...] = field(compare=False)
    """the rates and counts that it names, each once"""

    def value(self, values: Mapping[str, Fraction | None]) -> Fraction | None:
        """The exact value; None when a rate that it needs is missing. `values` has every name."""
        try:
            return _value(self._tree, values)
        except _Missing:
            return None


@lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """The expression. Raises `FormulaError` with the place and the reason."""
    if len(text) > LONGEST:
        raise FormulaError(LONGEST + 1, f"an expression has at most {LONGEST} characters, this one {len(text)}")
    try:
        tree = _PARSER.parse(text)
    except UnexpectedInput as error:
        raise _syntax_error(text, error) from None
    if not isinstance(tree, Tree):
        raise FormulaError(1, "is empty")
    names = _sound(tree)
    _range(tree)
    if not names:
        raise FormulaError(1, f"names no rate and no count; there are {', '.join(NAMES)}")
    return Expression(text, tree, names)


def _syntax_error(text: str, error: UnexpectedInput) -> FormulaError:
    position = getattr(error, "pos_in_stream", None)
    if isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END"):
        return FormulaError(len(text) + 1, "the expression ends too early")
    position = position if isinstance(position, int) and position >= 0 else 0
    if isinstance(error, UnexpectedCharacters):
        return FormulaError(position + 1, f"{text[position]!r} has no meaning here: {_hint(text, position)}")
    token = error.token if isinstance(error, UnexpectedToken) else ""
    expected = getattr(error, "expected", None) or getattr(error, "accepts", None) or ()
    wanted = sorted({_SYMBOLS.get(name, _WORDS.get(name, name)) for name in expected})
    return FormulaError(position + 1, f"{str(token)[:40]!r} cannot stand here; possible: {', '.join(wanted)}")


def _hint(text: str, position: int) -> str:
    sign = text[position]
    if sign == ".":
        return "there are no attributes, and a number is at most 12 digits with 6 decimals"
    if sign.isdigit():
        return "a number is at most 12 digits with 6 decimals"
    if sign in "'\"[]{}":
        return "there are no texts, lists or tables"
    if sign.isupper():
        return "names are in small letters"
    return "a formula has numbers, names, + - * /, brackets, min, max and if"


def _place(part: Tree[Token] | Token) -> int:
    start = part.start_pos if isinstance(part, Token) else part.meta.start_pos if not part.meta.empty else 0
    return (start or 0) + 1


def _sound(tree: Tree[Token]) -> tuple[str, ...]:
    """Size, depth and names; returns the names. Walks without recursion, because depth is what it looks at."""
    names: dict[str, None] = {}
    parts = 0
    waiting: list[tuple[Tree[Token], int]] = [(tree, 1)]
    while waiting:
        part, depth = waiting.pop()
        parts += 1
        if depth > DEEPEST:
            raise FormulaError(_place(part), f"is nested more than {DEEPEST} deep")
        if parts > MOST_PARTS:
            raise FormulaError(_place(part), f"has more than {MOST_PARTS} parts")
        if part.data == "name":
            word = str(part.children[0])
            if word not in NAMES:
                raise FormulaError(_place(part), f"{word[:40]!r} is no rate and no count; there are {', '.join(NAMES)}")
            names[word] = None
        waiting += [(child, depth + 1) for child in reversed(part.children) if isinstance(child, Tree)]
    return tuple(name for name in NAMES if name in names)


class _Missing(Exception):
    """A rate with nothing below the line."""


def _value(part: Any, values: Mapping[str, Fraction | None]) -> Fraction:
    match part.data:
        case "number":
            return Fraction(str(part.children[0]))
        case "name":
            found = values[str(part.children[0])]
            if found is None:
                raise _Missing
            return found
        case "negate":
            return -_value(part.children[0], values)
        case "call":
            chosen = min if part.children[0] == "min" else max
            return chosen(_value(child, values) for child in part.children[1:])
        case "choose":
            question, then, otherwise = part.children
            left, sign, right = question.children
            holds = _holds(str(sign), _value(left, values), _value(right, values))
            return _value(then if holds else otherwise, values)
    left, right = (_value(child, values) for child in part.children)
    match part.data:
        case "add":
            return left + right
        case "subtract":
            return left - right
        case "multiply":
            return left * right
        case _:
            return left / right


def _holds(sign: str, left: Fraction, right: Fraction) -> bool:
    match sign:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "==":
            return left == right
        case _:
            return left != right


def _range(part: Any) -> Range:
    """Between what the value lies, whatever the month brings. Raises `FormulaError` where a divisor may be zero."""
    match part.data:
        case "number":
            exact = Fraction(str(part.children[0]))
            return exact, exact
        case "name":
            return Fraction(0), Fraction(1) if str(part.children[0]) in _UP_TO_ONE else None
        case "negate":
            low, high = _range(part.children[0])
            return _minus(high), _minus(low)
        case "call":
            ranges = [_range(child) for child in part.children[1:]]
            lows, highs = [low for low, _ in ranges], [high for _, high in ranges]
            if part.children[0] == "min":
                known = [high for high in highs if high is not None]
                return None if None in lows else min(_all(lows)), min(known) if known else None
            known = [low for low in lows if low is not None]
            return max(known) if known else None, None if None in highs else max(_all(highs))
        case "choose":
            question, then, otherwise = part.children
            _range(question.children[0])
            _range(question.children[2])
            (a, b), (c, d) = _range(then), _range(otherwise)
            return None if a is None or c is None else min(a, c), None if b is None or d is None else max(b, d)
    left, right = part.children
    (a, b), (c, d) = _range(left), _range(right)
    match part.data:
        case "add":
            return None if a is None or c is None else a + c, None if b is None or d is None else b + d
        case "subtract":
            return None if a is None or d is None else a - d, None if b is None or c is None else b - c
        case "multiply":
            return _product((a, b), (c, d))
        case _:
            if not ((c is not None and c > 0) or (d is not None and d < 0)):
                raise FormulaError(
                    _place(right), "the divisor may be zero: take a rate, or max(1, …), or a number other than 0"
                )
            return _product((a, b), (None if d is None else 1 / d, None if c is None else 1 / c), bounded=True)


def _product(one: Range, other: Range, *, bounded: bool = False) -> Range:
    """`bounded`: an end that is missing in `other` is 0, the limit of 1/x."""
    if bounded:
        low, high = other
        other = (Fraction(0) if low is None else low, Fraction(0) if high is None else high)
    if None in one or None in other:
        positive = all(r[0] is not None and r[0] >= 0 for r in (one, other))
        return (one[0] * other[0] if positive and one[0] is not None and other[0] is not None else None), None
    ends = [x * y for x in _all(one) for y in _all(other)]
    return min(ends), max(ends)


def _minus(value: Fraction | None) -> Fraction | None:
    return None if value is None else -value


def _all(values: Iterable[Fraction | None]) -> list[Fraction]:
    return [value for value in values if value is not None]


class Purpose(StrEnum):
    """What a formula computes: the score that ranks, or the incentive beside it (mission.md, E3)."""

    SCORE = "score"
    INCENTIVE = "incentive"


@dataclass(frozen=True, slots=True)
class Formula:
    """A version of the score, or of the incentive: data, not code. `effective_from` is the first period (YYYY-MM) it
    holds for; units with fewer than `min_asked` asked (or of a tag rate that it names: judged tags) are unranked.
    Raises `FormulaError` for its expression, `ValueError` for the rest."""

    version: str
    effective_from: str
    expression: str
    min_asked: int = 20
    purpose: Purpose = Purpose.SCORE

    def __post_init__(self) -> None:
        period_bounds(self.effective_from, ZoneInfo("UTC"))
        if self.min_asked < 1:
            raise ValueError("min_asked: is at least 1")
        parse(self.expression)

    @property
    def names(self) -> tuple[str, ...]:
        """The rates and counts that it uses."""
        return parse(self.expression).names

    def exact(self, values: Mapping[str, Fraction | None]) -> Fraction | None:
        """The score, not below 0, not rounded; None when a rate that it needs is missing."""
        found = parse(self.expression).value(values)
        return None if found is None else max(Fraction(0), found)

    def ranks(self, counts: Counts) -> bool:
        """Whether there is enough to rank by."""
        enough = counts.asked >= self.min_asked
        return enough and ("tag_accuracy" not in self.names or counts.tags_judged >= self.min_asked)


def weighted(weights: Mapping[str, Decimal], deductions: Mapping[str, Decimal], cap: Decimal) -> str:
    """The expression of a score of the usual form: weighted rates × 100 minus capped points. Raises `ValueError`."""
    if unknown := weights.keys() - RATES.keys():
        raise ValueError(f"weights: {', '.join(sorted(unknown))} is no rate; rates are {', '.join(RATES)}")
    if unknown := deductions.keys() - set(SCORED_COUNTS):
        counts = ", ".join(SCORED_COUNTS)
        raise ValueError(f"deductions: {', '.join(sorted(unknown))} is no count that is scored; those are {counts}")
    if sum(weights.values()) != 1 or any(weight < 0 for weight in weights.values()):
        raise ValueError("weights: are not negative and add up to 1")
    if cap < 0 or any(points < 0 for points in deductions.values()):
        raise ValueError("deductions: these and the cap are not negative")
    rates = " + ".join(f"{weight:f} * {name}" for name, weight in weights.items())
    points = " + ".join(f"{points:f} * {name}" for name, points in deductions.items())
    return f"100 * ({rates})" + (f" - min({cap:f}, {points})" if points else "")


DEFAULT_FORMULA: Final = Formula(
    "default",
    "2000-01",
    "100 * (0.10 * response + 0.45 * solution + 0.45 * satisfaction)"
    " - min(20, 2 * shirked + 5 * false_completions + 0.5 * late)",
)
"""domain.md, Evaluation"""


DEFAULT_INCENTIVE: Final = Formula(
    "default", "2000-01", "100 * tag_accuracy * min(on_time, solution)", purpose=Purpose.INCENTIVE
)
"""mission.md, E3: tag accuracy × handling efficiency. Efficient is who is in time and solves it: the weaker of both."""


Defaults = Mapping[Purpose, Formula]
"""purpose → what holds until a version is added"""


def defaults(min_asked: int) -> Defaults:
    """Those of a city that ranks from `min_asked` asked appeals on."""
    return {one.purpose: replace(one, min_asked=min_asked) for one in (DEFAULT_FORMULA, DEFAULT_INCENTIVE)}


def formula_for(formulas: Iterable[Formula], period: str, default: Formula = DEFAULT_FORMULA) -> Formula:
    """The formula of the purpose of `default` with the latest `effective_from` not after the period; `default` when
    there is none."""
    fitting = [
        formula for formula in formulas if formula.purpose is default.purpose and formula.effective_from <= period
    ]
    return max(fitting, key=lambda formula: formula.effective_from, default=default)


def values_of(counts: Counts, names: Iterable[str] = NAMES) -> dict[str, Fraction | None]:
    """What these names of a formula mean for these counts."""
    return {name: quotient(counts, name) if name in RATES else Fraction(getattr(counts, name)) for name in names}


def score(counts: Counts, formula: Formula) -> Decimal | None:
    """Two decimals, not below 0. None when a rate of the formula is missing."""
    exact = formula.exact(values_of(counts, formula.names))
    return None if exact is None else rounded(exact, 2)
