"""What the centre should look at in a month, with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fastapi.responses import HTMLResponse

from services.evaluate.domain import Level
from services.evaluate.pages.frame import framed, month_name, months_around, opening, portrait_of, table


def signs_page(place: str, period: str, found: Sequence[Mapping[str, Any]]) -> HTMLResponse:
    """The page of what `GET /v1/evaluations/{period}/signs` answers."""
    head = ["单位", "提示", "数量", "占比", "其他单位", "工单或诉求"]
    listed = table(head, [_row(period, one) for one in found]) if found else "<p>本月没有发现异常提示。</p>"
    nav = f'<a href="/v1/rankings/{period}">← 返回排名</a>' + months_around(
        period, lambda other: f"/v1/evaluations/{other}/signs"
    )
    line = "提示只说明数字与其他单位明显不同，不是结论，不计入任何得分；请人工核实。"
    return framed(f"{place} 12345 热线　{month_name(period)}异常提示", line, nav, listed)


def _row(period: str, one: Mapping[str, Any]) -> str:
    others = "—" if one["others"] is None else f"{one['others'] * 100:.1f}%"
    listed = one["work_orders"] or one["appeals"] or ()
    evidence = "<br>".join(map(escape, listed))
    if one["sign"] == "exclusions":
        evidence = opening(period, Level.UNIT, one["unit"], "excluded", "打开案件")
    elif one["number"] > len(listed):
        evidence += f"<br>等 {one['number']} 件"
    return (
        f'<tr><td class="name">{portrait_of(one["unit"], period, escape(one["name"] or one["unit"]))}</td>'
        f"<td>{escape(one['words'])}</td><td>{one['number']:,} / {one['of']:,}</td>"
        f"<td><b>{one['share'] * 100:.1f}%</b></td>"
        f"<td>{others}</td><td>{evidence}</td></tr>"
    )
