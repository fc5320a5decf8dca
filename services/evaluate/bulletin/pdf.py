"""A bulletin as PDF on A4: reportlab, with 文泉驿微米黑 from a package, of which only the used glyphs are embedded.

So it looks the same on every machine and every reader, whatever fonts there are (ADR 0022).
"""

from __future__ import annotations

import io
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.graphics.charts.lineplots import LinePlot
from reportlab.graphics.shapes import Circle, Drawing, Line, String
from reportlab.graphics.widgets.markers import makeMarker
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import KeepTogether, LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from services.evaluate.bulletin.content import Bulletin, Intervals, Lines, Part, Table

FONT: Final = "WenQuanYiMicroHei"
INK, GREY, RULE, BAND = (HexColor(value) for value in (0x1A2333, 0x5B6573, 0xC9D1DB, 0xF3F6FA))
COLOURS: Final = [HexColor(value) for value in (0x1F5FA8, 0xC2410C, 0x15803D, 0x7C3AED)]
"""distinct in hue and in lightness"""
MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN

_TITLE = ParagraphStyle("title", fontName=FONT, fontSize=18, leading=26, textColor=INK, wordWrap="CJK")
_SUBTITLE = ParagraphStyle(
    "subtitle", fontName=FONT, fontSize=9, leading=14, textColor=GREY, wordWrap="CJK", spaceAfter=6
)
_HEADING = ParagraphStyle(
    "heading",
    fontName=FONT,
    fontSize=13,
    leading=20,
    textColor=COLOURS[0],
    spaceBefore=10,
    spaceAfter=4,
    keepWithNext=1,
)
_BODY = ParagraphStyle("body", fontName=FONT, fontSize=10, leading=16, textColor=INK, wordWrap="CJK", spaceAfter=4)
_CELL = ParagraphStyle("cell", fontName=FONT, fontSize=8.5, leading=11.5, textColor=INK, wordWrap="CJK")


@lru_cache(maxsize=1)
def _font() -> str:
    source = files("paperang_p2_fonts_cjk") / "fonts" / "wqy-microhei.ttc"
    pdfmetrics.registerFont(TTFont(FONT, io.BytesIO(source.read_bytes()), subfontIndex=0))
    return FONT


def pdf(bulletin: Bulletin) -> bytes:
    """The file. The same bulletin gives the same bytes: it carries no time of its making."""
    _font()
    target = io.BytesIO()
    document = SimpleDocTemplate(
        target,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=bulletin.title,
        author="诉枢",
        lang="zh-CN",
        invariant=1,
    )
    story: list[Any] = [Paragraph(escape(bulletin.title), _TITLE), Paragraph(escape(bulletin.subtitle), _SUBTITLE)]
    for number, section in enumerate(bulletin.sections, start=1):
        story.append(Paragraph(f"{number}. {escape(section.title)}", _HEADING))
        for part in section.parts:
            story += _flow(part)

    def foot(canvas: Any, _document: Any) -> None:
        canvas.saveState()
        canvas.setFont(FONT, 8)
        canvas.setFillColor(GREY)
        canvas.drawString(MARGIN, 10 * mm, bulletin.title)
        canvas.drawRightString(A4[0] - MARGIN, 10 * mm, f"第 {canvas.getPageNumber()} 页")
        canvas.restoreState()

    document.build(story, onFirstPage=foot, onLaterPages=foot)
    return target.getvalue()


def _flow(part: Part) -> list[Any]:
    match part:
        case Table():
            return [_table(part), Spacer(1, 6)]
        case Lines():
            return [KeepTogether([Paragraph(escape(part.title), _BODY), _lines(part)])]
        case Intervals():
            return [KeepTogether([Paragraph(escape(part.title), _BODY), _intervals(part)])]
        case str():
            return [Paragraph(escape(part), _BODY)]


def _table(table: Table) -> LongTable:
    """Cells that may be long are wrapped, the others are plain texts: a paragraph costs a hundred times as much."""
    widths = [share * WIDTH for share in table.widths]

    def cell(text: str, width: float) -> Any:
        fits = pdfmetrics.stringWidth(text, FONT, _CELL.fontSize) <= width - 8
        return text if fits else Paragraph(escape(text), _CELL)

    rows = [[cell(text, width) for text, width in zip(row, widths, strict=True)] for row in (table.head, *table.rows)]
    made = LongTable(rows, colWidths=widths, repeatRows=1)
    made.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), FONT, _CELL.fontSize, _CELL.leading),
                ("TEXTCOLOR", (0, 0), (-1, -1), INK),
                ("BACKGROUND", (0, 0), (-1, 0), BAND),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("LEFTPADDING", (0, 0), (-1, -1), 4),
                ("RIGHTPADDING", (0, 0), (-1, -1), 4),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
            ]
        )
    )
    return made


def _lines(lines: Lines) -> Drawing:
    height, left, bottom = 150.0, 30.0, 22.0
    drawing = Drawing(WIDTH, height)
    chart = LinePlot()
    chart.x, chart.y, chart.width, chart.height = left, bottom, WIDTH - left - 110, height - bottom - 10
    series = [[(n, v) for n, v in enumerate(values) if v is not None] for values in lines.values.values()]
    known = [(name, points) for name, points in zip(lines.values, series, strict=True) if points]
    if not known:
        return drawing
    values = [value for _, points in known for _, value in points]
    low = max(0, int(min(values) // 10) * 10)
    chart.data = [points for _, points in known]
    chart.xValueAxis.valueMin, chart.xValueAxis.valueMax = 0, max(1, len(lines.months) - 1)
    chart.xValueAxis.valueSteps = list(range(len(lines.months)))
    chart.xValueAxis.labelTextFormat = lambda n: lines.months[int(n)] if int(n) < len(lines.months) else ""
    chart.yValueAxis.valueMin, chart.yValueAxis.valueMax = low, 100
    chart.yValueAxis.visibleGrid, chart.yValueAxis.gridStrokeColor = 1, RULE
    for axis in (chart.xValueAxis, chart.yValueAxis):
        axis.labels.fontName, axis.labels.fontSize, axis.strokeColor = FONT, 8, GREY
    ends: list[tuple[float, str, int]] = []
    for number, (name, points) in enumerate(known):
        chart.lines[number].strokeColor, chart.lines[number].strokeWidth = COLOURS[number % len(COLOURS)], 1.6
        chart.lines[number].symbol = makeMarker(
            ("FilledCircle", "FilledSquare", "FilledDiamond", "FilledTriangle")[number % 4]
        )
        chart.lines[number].symbol.size = 4.5
        chart.lines[number].symbol.fillColor = COLOURS[number % len(COLOURS)]
        ends.append((points[-1][1], name, number))
    drawing.add(chart)
    # each line is named at its end; names that would lie on each other are moved apart
    scale, above = chart.height / (100 - low or 1), None
    for value, name, number in sorted(ends):
        y = bottom + (value - low) * scale - 3
        y = y if above is None else max(y, above + 11)
        above = y
        drawing.add(
            String(
                chart.x + chart.width + 8,
                y,
                f"{name} {value:.1f}",
                fontName=FONT,
                fontSize=8.5,
                fillColor=COLOURS[number],
            )
        )
    return drawing


def _intervals(intervals: Intervals) -> Drawing:
    step, left = 15.0, 170.0
    height = step * len(intervals.rows) + 24
    drawing = Drawing(WIDTH, height)
    if not intervals.rows:
        return drawing
    low = min(int(row[1] * 10) / 10 for row in intervals.rows)
    width = WIDTH - left - 44

    def x(value: float) -> float:
        return float(left + (value - low) / (1 - low or 1) * width)

    step_of_ticks = 10 if low >= 0.4 else 20
    for tick in (percent / 100 for percent in range(100, round(low * 100) - 1, -step_of_ticks)):
        drawing.add(Line(x(tick), 16, x(tick), height - 4, strokeColor=RULE, strokeWidth=0.4))
        drawing.add(
            String(x(tick), 4, f"{tick * 100:.0f}", fontName=FONT, fontSize=8, fillColor=GREY, textAnchor="middle")
        )
    for number, (name, begin, value, end) in enumerate(intervals.rows):
        y = height - 12 - number * step
        drawing.add(String(left - 8, y - 3, name[:18], fontName=FONT, fontSize=8.5, fillColor=INK, textAnchor="end"))
        drawing.add(Line(x(begin), y, x(end), y, strokeColor=COLOURS[0], strokeWidth=1.4))
        drawing.add(Circle(x(value), y, 2.6, fillColor=COLOURS[0], strokeColor=None))
        drawing.add(String(WIDTH - 36, y - 3, f"{value * 100:.1f}", fontName=FONT, fontSize=8.5, fillColor=INK))
    return drawing
