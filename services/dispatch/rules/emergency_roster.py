"""Urgent cases go to whoever is on duty now (domain.md, Classification: nobody waits without an owner)."""

from services.dispatch.domain.case import Case, HandlingClass
from services.dispatch.domain.duties import DutyKind
from services.dispatch.domain.routing import Context, Pass, Proposal


class EmergencyRoster:
    name = "emergency_roster"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        if case.handling_class is not HandlingClass.URGENT:
            return Pass("不属于紧急诉求。")
        if case.region_code and not context.regions.is_within(case.region_code, context.platforms.own):
            return Pass("紧急诉求发生在其他平台辖区，由跨区域规则处理。")
        for entry in context.duties.holding(DutyKind.ROSTER, case.matter, context.lineage(case), context.local):
            if unit := context.available(entry.lead):
                helpers = tuple(helper.code for code in entry.co_handlers if (helper := context.available(code)))
                return Proposal(f"紧急诉求，由值班的{unit.name}立即处置。", lead=unit.code, co_handlers=helpers)
        return Pass("值班表上没有可用的值班单位。")
