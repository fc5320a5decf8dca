"""Request bodies of evaluate (api.md, evaluate)."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from services.evaluate.formula import Formula, Purpose, weighted
from shared.http.bodies import Body, Code, Note

Period = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Points = Annotated[float, Field(ge=0, le=1_000)]


class FormulaBody(Body):
    """A version of the score, or of the incentive: an `expression`, or in its place `weights`, `deductions` and `cap`,
    which make one. Names of rates and counts are those of docs/evaluation.md."""

    version: Code
    effective_from: Period
    purpose: Literal["score", "incentive"] = "score"
    expression: str | None = None
    weights: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], Field(max_length=20)] = Field(
        default_factory=dict
    )
    deductions: Annotated[dict[str, Points], Field(max_length=20)] = Field(default_factory=dict)
    cap: Points = 20
    min_asked: Annotated[int, Field(ge=1, le=1_000_000)] = 20

    def formula(self) -> Formula:
        """The formula of the domain. Raises `FormulaError` or `ValueError` ("field: what is wrong")."""
        if self.expression is None:
            weights = {name: Decimal(str(weight)) for name, weight in self.weights.items()}
            deductions = {name: Decimal(str(points)) for name, points in self.deductions.items()}
            text = weighted(weights, deductions, Decimal(str(self.cap)))
        elif self.weights or self.deductions:
            raise ValueError("weights: give an expression, or weights and deductions, not both")
        else:
            text = self.expression
        return Formula(self.version, self.effective_from, text, self.min_asked, Purpose(self.purpose))


class PublishBody(Body):
    """Why, in words for the audit; may be empty: `{}`."""

    reason: Note | None = None


class RebuildBody(Body):
    """Nothing to say: `{}`."""
