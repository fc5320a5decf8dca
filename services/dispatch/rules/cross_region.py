"""跨区域协同: a case of another platform stays with the own centre and is offered there (domain.md, Dispatch 6)."""

from services.dispatch.domain.case import Case
from services.dispatch.domain.routing import Context, Pass, Proposal


class CrossRegion:
    name = "cross_region"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        if not case.region_code:
            return Pass("诉求地点不明，先按本平台办理。")
        place = context.place_name(case)
        own, centre = context.platforms.own, context.units.centre
        owner = context.regions.platform_of(case.region_code, context.platforms.codes)
        if owner == own:
            return Pass(f"{place}属本平台辖区，由当地单位办理。")
        if owner in case.came_by:
            return Proposal(f"本案由{owner}平台移交而来，不再移交回去，由{centre.name}协调。", lead=centre.code)
        if owner is not None:
            known = context.regions.get(owner)
            return Proposal(
                f"{place}属{known.name if known else owner}平台辖区，已提出移交；对方接收前由{centre.name}负责。",
                lead=centre.code,
                platform=owner,
            )
        if context.regions.is_within(case.region_code, own):
            return Pass(f"{place}属本平台辖区，由当地单位办理。")
        return Proposal(f"{place}不在本平台辖区，也没有已知的接收平台，由{centre.name}人工协调。", lead=centre.code)
