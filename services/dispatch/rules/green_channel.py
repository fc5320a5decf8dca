"""行权困难群体 are answered sooner (domain.md, SLA: elderly or disabled reporters)."""

from services.dispatch.domain.case import Case
from services.dispatch.domain.routing import Context, Pass, Proposal

GREEN_CHANNEL_POLICY = "green_channel"
GROUPS = {"elderly": "老年人", "disabled": "残疾人", "deaf": "听障人士", "pregnant": "孕产妇", "minor": "未成年人"}


class GreenChannel:
    """Puts the case under the clock policy `green_channel`; who leads it is left to the other rules."""

    name = "green_channel"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        groups = [words for group, words in GROUPS.items() if group in case.groups]
        if not groups:
            return Pass("诉求人不属于绿色通道群体。")
        return Proposal(f"诉求人为{'、'.join(groups)}，走绿色通道，优先联系。", clock_policy=GREEN_CHANNEL_POLICY)
