"""The chain of routing rules: who leads a case, and every rule's answer (domain.md, Dispatch 1).

A rule is pure: it reads the case and the context and answers a `Proposal` or a `Pass`, each with a reason that a
citizen could read, in Chinese. `docs/writing-a-routing-rule.md` shows how to write one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, tzinfo
from enum import StrEnum
from typing import Protocol

from services.dispatch.domain.case import Case, HandlingClass
from services.dispatch.domain.duties import DutyList
from services.dispatch.domain.platforms import PlatformDirectory
from services.dispatch.domain.regions import Regions
from services.dispatch.domain.units import Unit, UnitDirectory

DEFAULT_CLOCK_POLICY = "default"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a rule wants; every field but the reason may be left out.

    `lead` and `co_handlers` are unit codes. `platform` is another platform's code: the case is to be handed over to
    it, while `lead` owns it until then. `clock_policy` names a policy of the SLA service.
    """

    reason: str
    lead: str | None = None
    co_handlers: tuple[str, ...] = ()
    platform: str | None = None
    handling_class: HandlingClass | None = None
    clock_policy: str | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """The rule has nothing to say about this case, and why."""

    reason: str


@dataclass(frozen=True)
class Context:
    """What a rule may look at beside the case: facts of this platform at the instant `now`."""

    now: datetime
    zone: tzinfo
    regions: Regions
    units: UnitDirectory
    duties: DutyList = field(default_factory=DutyList)
    platforms: PlatformDirectory = field(default_factory=lambda: PlatformDirectory.of(""))
    # units that returned this case: no rule may give it to them again
    without: frozenset[str] = frozenset()
    # open orders by lead; only units with a capacity are counted
    open_orders: Mapping[str, int] = field(default_factory=dict)
    # what the rules asked before this one agreed on
    so_far: Proposal = Proposal("")

    @property
    def local(self) -> datetime:
        """`now` in the platform's zone."""
        return self.now.astimezone(self.zone)

    @property
    def today(self) -> date:
        return self.local.date()

    def lineage(self, case: Case) -> tuple[str, ...]:
        """Codes of the case's region and those around it, nearest first; the platform's own when it is unknown."""
        code = case.region_code or self.platforms.own
        return (code, *self.regions.ancestors(code))

    def place_name(self, case: Case) -> str:
        """Name of the case's region for a reason; 本市 when it is unknown."""
        place = self.regions.get(case.region_code) if case.region_code else None
        return place.name if place else "本市"

    def available(self, code: str) -> Unit | None:
        """The unit, or who stands in for it today; None when it returned this case or nobody stands in."""
        unit = self.units.stand_in(code, self.today)
        return None if unit is None or unit.code in self.without else unit


class RoutingRule(Protocol):
    """A plug-in of the chain; `name` is what the configuration and the decisions call it."""

    @property
    def name(self) -> str: ...

    def propose(self, case: Case, context: Context) -> Proposal | Pass: ...


class Outcome(StrEnum):
    """What became of a rule's answer: its lead was chosen; it proposed something else, or too late; …"""

    CHOSEN = "chosen"
    PROPOSED = "proposed"
    PASSED = "passed"
    FAILED = "failed"
    OFF = "off"
    """not asked: it was slow or stuck before"""


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    rule: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The chain's result: exactly one lead, and each rule's answer in the order of asking."""

    lead: str
    handling_class: HandlingClass
    answers: tuple[RuleAnswer, ...]
    co_handlers: tuple[str, ...] = ()
    platform: str | None = None
    clock_policy: str = DEFAULT_CLOCK_POLICY

    @property
    def failures(self) -> tuple[str, ...]:
        """Names of the rules that raised or answered nonsense."""
        return tuple(answer.rule for answer in self.answers if answer.outcome is Outcome.FAILED)


class SwitchedOff(Exception):
    """A rule that is not asked; the text says why."""


Ask = Callable[[RoutingRule, Case, Context], Proposal | Pass]
"""how a rule is asked: may raise `SwitchedOff`, and whatever the rule raises"""


def asked(rule: RoutingRule, case: Case, context: Context) -> Proposal | Pass:
    """Ask without a guard."""
    return rule.propose(case, context)


def nonsense(answer: object, context: Context) -> str | None:
    """Why an answer cannot be used, or None."""
    if not isinstance(answer, Proposal | Pass):
        return f"answered {type(answer).__name__}, not Proposal or Pass"
    if not isinstance(answer.reason, str) or not answer.reason.strip():
        return "gave no reason"
    if isinstance(answer, Pass):
        return None
    if answer.lead is not None:
        unit = context.units.get(answer.lead)
        if unit is None:
            return f"named the unknown unit {answer.lead!r}"
        if not unit.works_on(context.today):
            return f"named {answer.lead!r}, which is not at work"
        if unit.code in context.without:
            return f"named {answer.lead!r}, which returned the case"
    if unknown := [code for code in answer.co_handlers if context.units.get(code) is None]:
        return f"named unknown co-handlers {unknown}"
    if answer.platform is not None and (
        answer.platform == context.platforms.own or answer.platform not in context.platforms.platforms
    ):
        return f"named {answer.platform!r}, which is no other platform of the directory"
    if answer.handling_class is not None and not isinstance(answer.handling_class, HandlingClass):
        return f"named the unknown class {answer.handling_class!r}"
    return None


def decide(rules: Sequence[RoutingRule], case: Case, context: Context, ask: Ask = asked) -> Decision:
    """Asks every rule in order; the first lead wins, later ones are kept as `proposed`.

    Fields beside the lead are taken from whoever names them first. A rule that raises or answers nonsense is recorded
    as `failed` and passed over. Without any lead the centre owns the case, so a decision always has an owner.
    """
    answers: list[RuleAnswer] = []
    agreed = context.so_far
    for rule in rules:
        if agreed is not context.so_far:
            context = replace(context, so_far=agreed)
        try:
            answer = ask(rule, case, context)
            problem = nonsense(answer, context)  # may raise too: an answer can hold anything
        except SwitchedOff as off:
            answers.append(RuleAnswer(rule.name, Outcome.OFF, str(off)))
            continue
        except Exception as error:  # a plug-in may fail in any way; the case must not wait for its author
            problem = f"raised {type(error).__name__}: {error}"
        if problem is not None:
            answers.append(RuleAnswer(rule.name, Outcome.FAILED, problem))
        elif isinstance(answer, Pass):
            answers.append(RuleAnswer(rule.name, Outcome.PASSED, answer.reason))
        elif answer.lead is not None and agreed.lead is not None:
            answers.append(RuleAnswer(rule.name, Outcome.PROPOSED, answer.reason))
        else:
            outcome = Outcome.PROPOSED if answer.lead is None else Outcome.CHOSEN
            answers.append(RuleAnswer(rule.name, outcome, answer.reason))
            agreed = _merged(agreed, answer)
    lead = agreed.lead
    if lead is None:
        lead = context.units.centre.code
        answers.append(RuleAnswer("last_resort", Outcome.CHOSEN, "没有规则给出承办单位，由热线中心兜底负责。"))
    return Decision(
        lead=lead,
        handling_class=agreed.handling_class or case.handling_class,
        answers=tuple(answers),
        co_handlers=tuple(dict.fromkeys(code for code in agreed.co_handlers if code != lead)),
        platform=agreed.platform,
        clock_policy=agreed.clock_policy or DEFAULT_CLOCK_POLICY,
    )


def _merged(agreed: Proposal, answer: Proposal) -> Proposal:
    return Proposal(
        reason=agreed.reason,
        lead=agreed.lead or answer.lead,
        co_handlers=agreed.co_handlers + answer.co_handlers,
        # a platform without its lead would hand over a case that somebody else owns
        platform=answer.platform if answer.lead else agreed.platform,
        handling_class=agreed.handling_class or answer.handling_class,
        clock_policy=agreed.clock_policy or answer.clock_policy,
    )
