"""事项 × 属地: the most specific region of the case that has a unit for the matter."""

from services.dispatch.domain.case import Case
from services.dispatch.domain.routing import Context, Pass, Proposal


class MatterTerritory:
    name = "matter_territory"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        if not case.matter:
            return Pass("事项尚未确定。")
        absent: list[str] = []
        for answering in context.units.answering(case.matter, context.lineage(case)):
            unit = context.available(answering.code)
            if unit is None:
                absent.append(answering.name)
            elif unit is answering:
                return Proposal(f"{context.place_name(case)}的此类事项由{unit.name}负责。", lead=unit.code)
            else:
                return Proposal(f"{answering.name}暂停承办，其事项由{unit.name}接替。", lead=unit.code)
        if absent:
            return Pass(f"负责此类事项的{'、'.join(absent)}目前不能承办。")
        return Pass("当地没有负责此类事项的单位。")
