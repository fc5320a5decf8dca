"""夜市: at night street trading is handled by the street office on the spot, the district's 城管局 helps."""

from services.dispatch.domain import Case, Context, Pass, Proposal, UnitKind

STREET_TRADING = "010101"  # 城市管理 / 市容秩序 / 占道经营
NIGHT = (20, 6)  # local hours: from, to


class NightMarket:
    """Names the street office of the case's township between 20:00 and 06:00."""

    name = "night_market"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        if not case.matter.startswith(STREET_TRADING):
            return Pass("不是占道经营。")
        if NIGHT[1] <= context.local.hour < NIGHT[0]:
            return Pass("不在夜间（20时至次日6时）。")
        offices = (context.units.government_of(region) for region in context.lineage(case))
        nearest = next((office for office in offices if office and office.kind is UnitKind.STREET), None)
        street = context.available(nearest.code) if nearest else None
        if street is None:
            return Pass("当地没有可承办的街道（乡镇）。")
        helpers = (unit for unit in context.units.answering(case.matter, context.lineage(case)) if unit != street)
        return Proposal(
            f"夜间占道经营由{street.name}就近处置。",
            lead=street.code,
            co_handlers=tuple(unit.code for unit in [next(helpers, None)] if unit),
        )
