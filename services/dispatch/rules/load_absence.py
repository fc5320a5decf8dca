"""When nobody for the matter is available the territory's government answers; an overloaded lead gets help."""

from services.dispatch.domain.case import Case
from services.dispatch.domain.routing import Context, Pass, Proposal


class LoadAbsence:
    name = "load_absence"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        return self._absence(case, context) if context.so_far.lead is None else self._load(context.so_far.lead, context)

    def _absence(self, case: Case, context: Context) -> Proposal | Pass:
        if case.region_code in ("", context.platforms.own):
            return Pass("诉求地点不明确，不能确定属地政府。")
        for region in context.lineage(case):
            government = context.units.government_of(region)
            if government is not None and (unit := context.available(government.code)):
                return Proposal(f"没有可承办的责任部门，由属地的{unit.name}先行负责。", lead=unit.code)
        return Pass("属地没有可承办的单位。")

    def _load(self, lead: str, context: Context) -> Proposal | Pass:
        unit = context.units.get(lead)
        if unit is None or unit.capacity is None or context.open_orders.get(lead, 0) <= unit.capacity:
            return Pass("承办单位可以正常承办。")
        for above in context.units.supervisors(lead):
            if helper := context.available(above.code):
                return Proposal(f"{unit.name}在办工单较多，请{helper.name}协助。", co_handlers=(helper.code,))
        return Pass(f"{unit.name}在办工单较多，但没有上级单位可以协助。")
