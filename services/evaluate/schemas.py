"""Request bodies of evaluate (api.md, evaluate)."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from services.evaluate.domain import Formula
from shared.http.bodies import Body, Code

Period = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Points = Annotated[float, Field(ge=0, le=1_000)]


class FormulaBody(Body):
    """A version of the score. Names of rates and counts are those of docs/evaluation.md."""

    version: Code
    effective_from: Period
    weights: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], Field(min_length=1, max_length=20)]
    deductions: Annotated[dict[str, Points], Field(max_length=20)] = Field(default_factory=dict)
    cap: Points = 20
    min_asked: Annotated[int, Field(ge=1, le=1_000_000)] = 20

    def formula(self) -> Formula:
        """The formula of the domain. Raises `ValueError` with what is wrong."""
        return Formula(
            self.version,
            self.effective_from,
            {name: Decimal(str(weight)) for name, weight in self.weights.items()},
            {name: Decimal(str(points)) for name, points in self.deductions.items()},
            Decimal(str(self.cap)),
            self.min_asked,
        )
