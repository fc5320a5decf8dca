"""The duty officer of the centre takes what nobody else takes: an appeal always ends with an owner."""

from services.dispatch.domain.case import Case
from services.dispatch.domain.routing import Context, Pass, Proposal


class LastResort:
    name = "last_resort"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        if context.so_far.lead is not None:
            return Pass("已有承办单位。")
        centre = context.units.centre
        return Proposal(f"没有单位可以承办，由{centre.name}值班长负责协调。", lead=centre.code)
