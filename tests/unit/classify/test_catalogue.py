"""The catalogue file: what an author gets told, and what a new version changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.classify.domain.catalogue import COLUMNS, Catalogue, CatalogueError, diff, parse_catalogue
from services.classify.domain.tags import parse_tags

DEMO = Path(__file__).parents[3] / "cities" / "demo"
HEADER = ",".join(COLUMNS)
ROW = "01010101,城市管理,市容秩序,占道经营,流动摊贩占道,general,complaint,,0,0,小贩|摊贩,例一|例二"


def test_demo_catalogue_is_sound_and_broad() -> None:
    matters = parse_catalogue((DEMO / "catalogue.csv").read_text(encoding="utf-8"))
    assert len(matters) >= 48
    assert len({matter.code[:2] for matter in matters}) >= 12
    assert {str(matter.handling_class) for matter in matters} == {"urgent", "livelihood", "general", "complex"}


def test_demo_tags_cover_all_families() -> None:
    tags = parse_tags((DEMO / "tags.csv").read_text(encoding="utf-8"))
    assert len(tags) >= 30
    assert {str(tag.family) for tag in tags} == {"spacetime", "subject", "nature", "governance"}


def test_a_row_becomes_a_matter() -> None:
    (matter,) = parse_catalogue(f"\ufeff{HEADER}\r\n{ROW}\r\n")
    assert matter.name == "流动摊贩占道"
    assert matter.synonyms == ("小贩", "摊贩")
    assert matter.dimension is None


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (("01010101", "0101010"), "code"),
        (("01010101", "０１０１０１０１"), "code"),
        ((",general,", ",slow,"), "class"),
        ((",complaint,", ",moan,"), "kind"),
        ((",complaint,,", ",complaint,八有,"), "dimension"),
        ((",0,0,", ",yes,0,"), "social"),
        (("流动摊贩占道", ""), "l4"),
        (("城市管理,", ""), "row"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(change: tuple[str, str], column: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        parse_catalogue(f"{HEADER}\n{ROW.replace(*change)}\n")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, column)


def test_one_group_with_two_names_is_refused() -> None:
    other = ROW.replace("01010101", "01020101").replace("城市管理", "城管").replace("市容秩序", "环境卫生")
    with pytest.raises(CatalogueError, match="group 01 is called 城市管理"):
        parse_catalogue(f"{HEADER}\n{ROW}\n{other}\n")


def test_a_code_may_stand_only_once() -> None:
    with pytest.raises(CatalogueError, match="stands on line 2 already"):
        parse_catalogue(f"{HEADER}\n{ROW}\n{ROW}\n")


@pytest.mark.parametrize("text", ["", "\n\n", "code,l1\n", HEADER, f'{HEADER}\n"01'])
def test_a_file_without_matters_says_what_to_do(text: str) -> None:
    with pytest.raises(CatalogueError):
        parse_catalogue(text)


def test_all_problems_are_told_at_once() -> None:
    bad = ROW.replace("general", "slow").replace("complaint", "moan")
    with pytest.raises(CatalogueError) as caught:
        parse_catalogue(f"{HEADER}\n{bad}\n{bad}\n")
    assert len(caught.value.problems) == 4


def test_diff_names_added_removed_and_changed() -> None:
    gone = ROW.replace("01010101", "01010102")
    fresh = ROW.replace("01010101", "01010103")
    old = Catalogue.of("1", parse_catalogue(f"{HEADER}\n{ROW}\n{gone}\n"))
    new = Catalogue.of("2", parse_catalogue(f"{HEADER}\n{ROW.replace('general', 'livelihood')}\n{fresh}\n"))
    change = diff(old, new)
    assert change.added == ("01010103",)
    assert change.removed == ("01010102",)
    assert change.changed == {"01010101": ("handling_class",)}
    assert diff(new, new).empty


def test_matters_are_found_by_synonym_and_by_code() -> None:
    catalogue = Catalogue.of("1", parse_catalogue((DEMO / "catalogue.csv").read_text(encoding="utf-8")))
    assert catalogue.find("欠薪")[0].name == "拖欠工资"
    assert {matter.code[:4] for matter in catalogue.find("0302")} >= {"0302"}
    assert catalogue.find("没有这样的事项") == []
    assert len(catalogue.find("")) == len(catalogue)
