"""街道吹哨、部门报到: in a mega city the street leads and the department that knows the matter reports to it."""

from services.dispatch.domain.case import Case
from services.dispatch.domain.routing import Context, Pass, Proposal
from services.dispatch.domain.units import UnitKind


class TerritoryFirst:
    """Enable it for the profile `mega` only: it needs street offices that can call the departments."""

    name = "territory_first"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        for region in context.lineage(case):
            government = context.units.government_of(region)
            if government is not None and government.kind is UnitKind.STREET:
                street = context.available(government.code)
                break
        else:
            return Pass("诉求地点不能确定到街道（乡镇）。")
        if street is None:
            return Pass("当地街道（乡镇）目前不能承办。")
        answering = (
            context.available(unit.code) for unit in context.units.answering(case.matter, context.lineage(case))
        )
        department = next((unit for unit in answering if unit is not None and unit.code != street.code), None)
        if department is None:
            return Proposal(f"属地优先，由{street.name}办理。", lead=street.code)
        return Proposal(
            f"属地优先，由{street.name}牵头，{department.name}到场协办。",
            lead=street.code,
            co_handlers=(department.code,),
        )
