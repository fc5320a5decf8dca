"""What a figure becomes when its size grows: at two sizes of one run, and their ratio (quality.md, Performance)."""


def growth(of: str, sizes: tuple[float, float], figure: str, values: tuple[float, float]) -> dict[str, object]:
    """`figure` at two sizes of what `of` names; `ratio`: the second by the first."""
    ratio = round(values[1] / values[0], 2) if values[0] else None
    return {of: list(sizes), figure: [round(value, 3) for value in values], "ratio": ratio}
