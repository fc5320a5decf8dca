"""职责清单: rulings "from now on" and agreed duties come before the general rule (domain.md, Dispatch 4)."""

from services.dispatch.domain.case import Case
from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.routing import Context, Pass, Proposal


class DutyListRule:
    name = "duty_list"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        absent: list[str] = []
        for entry in context.duties.holding(DutyKind.DUTY, case.matter, context.lineage(case), context.local):
            unit = context.available(entry.lead)
            if unit is None:
                absent.append(context.units.name(entry.lead))
                continue
            helpers = tuple(helper.code for code in entry.co_handlers if (helper := context.available(code)))
            return Proposal(f"{_origin(entry)}，此类事项由{unit.name}办理。", lead=unit.code, co_handlers=helpers)
        if absent:
            return Pass(f"职责清单所列的{'、'.join(absent)}目前不能承办。")
        return Pass("职责清单中没有这类事项。")


def _origin(entry: Duty) -> str:
    since = f"（{entry.valid_from:%Y年%m月%d日}起）" if entry.valid_from else ""
    return f"按照争议裁定{since}" if entry.source.startswith("ruling:") else f"按照职责清单{since}"
