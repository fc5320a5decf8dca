"""Bodies of classify's HTTP calls."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.http.bodies import Body, Code, Instant, Note

HandlingClassName = Literal["urgent", "livelihood", "general", "complex"]
MatterCode = Annotated[str, Field(pattern=r"^[0-9]{8}$")]


class ClassifyReporter(Body):
    """Who speaks, as far as classification may know: the pseudonym finds repeats; contact data is ignored."""

    pseudonym: Annotated[str | None, Field(max_length=200)] = None
    groups: Annotated[list[str], Field(max_length=20)] = Field(default_factory=list)


class ClassifyBody(Body):
    """A text to classify; nothing of it is stored."""

    text: Annotated[str, Field(max_length=100_000)]
    title: Annotated[str | None, Field(max_length=2_000)] = None
    region_code: Code | None = None
    reporter: ClassifyReporter | None = None


class ReviewBody(Body):
    """A person's decision; what is left out follows from the matter."""

    matter: MatterCode
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=60)]] | None, Field(max_length=50)] = None
    handling_class: Annotated[HandlingClassName | None, Field(alias="class")] = None
    note: Note | None = None
    catalogue_version: Annotated[str | None, Field(max_length=20)] = None


class LeaseBody(Body):
    """How many reviews a seat takes at once, of which class."""

    limit: Annotated[int, Field(ge=1, le=20)] = 1
    handling_class: Annotated[HandlingClassName | None, Field(alias="class")] = None


class FileBody(Body):
    """The CSV as sent, so that equal imports are known as equal."""

    csv: str


class AcceptSureBody(Body):
    """The score from which on proposed pairs are accepted together."""

    at_least: Annotated[float, Field(ge=0.5, le=1)]


class ActivateBody(Body):
    """Effective now, or from a later instant."""

    effective_from: Instant | None = None


class ActivateModelBody(Body):
    """`force` activates a model that did not beat the present one; it needs a reason, which is audited."""

    force: bool = False
    reason: Note | None = None


class RollBackBody(Body):
    """Why, for the audit."""

    reason: Note | None = None


class TagBody(Body):
    """A tag to add, or to replace when its code is known."""

    code: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[\w.\-:]+$")]
    name: Annotated[str, Field(min_length=1, max_length=80)]
    family: Literal["spacetime", "subject", "nature", "governance"]
    tier: Literal["base", "extended", "custom"] = "custom"
    words: Annotated[list[Annotated[str, Field(min_length=1, max_length=40)]], Field(min_length=1, max_length=500)]
    valid_from: Instant | None = None
    valid_to: Instant | None = None


class LookBody(Body):
    """How many days are looked through: a third of them counts as recent."""

    days: Annotated[int, Field(ge=9, le=366)] = 90


class PromoteBody(Body):
    """What a promoted phrase is called; what is left out follows from the proposal."""

    code: Annotated[str | None, Field(min_length=1, max_length=60, pattern=r"^[\w.\-:]+$")] = None
    name: Annotated[str | None, Field(min_length=1, max_length=80)] = None
    family: Literal["spacetime", "subject", "nature", "governance"] = "nature"
    valid_from: Instant | None = None
    valid_to: Instant | None = None


class ModelBody(Body):
    """A model folder below the data folder."""

    path: Annotated[str, Field(min_length=1, max_length=1_000)]
