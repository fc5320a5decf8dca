"""`make train` and `make evaluate` as a city uses them, up to installing the model in a running hub."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import sys
from pathlib import Path

from services.classify.corrections import write_corrections
from services.classify.grammar import Grammar
from services.classify.knowledge import Library
from shared.city import CITIES
from shared.testing.harness import Harness
from tests.integration.classify.sayings import LAMP, label, receive

ROOT = Path(__file__).parents[3]


async def run(module: str, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def write_cases(path: Path) -> int:
    """Sentences of two months, and a label that only the second month has; returns the rows of the second month."""
    sentences = [
        one for one in Grammar.read(CITIES / "demo" / "grammar.yaml").sentences(6, seed=5) if one.code < "0203"
    ]
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["day", "words", "code"])
        for number, one in enumerate(sentences):
            out.writerow([f"2026-0{1 + number % 2}-1{number % 10}", one.text, one.code])
        out.writerow(["2026-02-20", "这是一条没有学过的诉求", "99999999"])
    return len(sentences) // 2 + 1


async def test_a_city_trains_judges_and_installs_its_own_model(server_url: str, tmp_path: Path) -> None:
    data, predictions = tmp_path / "cases.csv.gz", tmp_path / "out" / "predictions.jsonl"
    judged = write_cases(data)
    columns = ("--data", str(data), "--text", "words", "--label", "code", "--date", "day")
    async with Harness.fresh(server_url, "classify") as hub:
        folder = hub.settings.data_dir / "models" / "own"
        code, _, err = await run(
            "tools.train", *columns, "--until", "2026-02-01", "--min-count", "3", "--out", str(folder)
        )
        assert code == 0, err
        assert {path.name for path in folder.iterdir()} == {"model.json", "weights.npz", "MODEL_CARD.md"}
        assert not folder.with_name("own.partial").exists()
        code, out, err = await run(
            "tools.evaluate",
            *columns,
            "--since",
            "2026-02-01",
            "--model",
            str(folder),
            "--predictions",
            str(predictions),
        )
        assert code == 0, err
        figures = json.loads(out.splitlines()[-1])
        assert figures["rows"] == judged
        assert figures["unknown_label_rows"] == 1
        assert figures["accuracy"] < figures["accuracy_known"]
        assert figures["accuracy_known"] > 0.9
        assert list(figures["by_month"]) == ["2026-02"]
        rows = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
        assert len(rows) == judged
        assert set(rows[0]) == {"row", "label", "top"}
        assert [len(row["top"]) for row in rows] == [5] * judged
        right = sum(row["label"] == row["top"][0][0] for row in rows)
        assert round(right / judged, 4) == figures["accuracy"]

        made = await hub.http.post("/v1/models", json={"path": "models/own"}, headers=hub.admin)
        assert made.status_code == 201, made.text
        version = made.json()["version"]
        await hub.http.post(f"/v1/models/{version}/activate", headers=hub.admin)
        after = (await label(hub, LAMP)).data.after
        assert (after.model, after.matter.code) == (version, "02010201")


async def test_a_tag_that_persons_set_is_learnt_and_then_set_by_the_model(server_url: str, tmp_path: Path) -> None:
    data, decided = tmp_path / "cases.csv.gz", tmp_path / "corrections.jsonl"
    write_cases(data)
    sentences = Grammar.read(CITIES / "demo" / "grammar.yaml").sentences(5, seed=21)
    roads = [one for one in sentences if one.code.startswith("02")][:40]
    others = [one for one in sentences if one.code < "02"][:40]
    async with Harness.fresh(server_url, "classify") as hub:
        tag = {"code": "subject.way", "name": "道路", "family": "subject", "tier": "custom", "words": ["没有这个词"]}
        assert (await hub.http.post("/v1/tags", json=tag, headers=hub.admin)).status_code in (200, 201)
        for one in (*roads, *others):
            appeal_id = await receive(hub, one.text)
            await hub.settle()
            body = {"matter": one.code, "tags": ["subject.way"] if one in roads else []}
            answer = await hub.http.post(f"/v1/reviews/{appeal_id}", json=body, headers=hub.admin)
            assert answer.status_code == 200, answer.text
        library = Library(hub.settings.data_dir, ())
        assert await write_corrections(hub.runners["classify"].service.database, decided, library) == 80
        folder = hub.settings.data_dir / "models" / "tagging"
        code, _, err = await run(
            "tools.train",
            *("--data", str(data), "--text", "words", "--label", "code", "--date", "day"),
            *("--corrections", str(decided), "--config", "words", "--out", str(folder)),
        )
        assert code == 0, err
        assert "| subject.way | 40 |" in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
        made = await hub.http.post("/v1/models", json={"path": "models/tagging"}, headers=hub.admin)
        why = {"force": True, "reason": "试用标签"}
        address = f"/v1/models/{made.json()['version']}/activate"
        assert (await hub.http.post(address, json=why, headers=hub.admin)).status_code == 200
        (found,) = [tag for tag in (await label(hub, LAMP)).data.after.tags if tag.code == "subject.way"]
        assert (found.source, found.name) == ("model", "道路")
        assert found.confidence >= 0.5
        assert found.evidence


async def test_what_cannot_be_trained_or_judged_says_why(tmp_path: Path) -> None:
    data = tmp_path / "cases.csv"
    data.write_text("words,code\n你好,a\n你好,a\n", encoding="utf-8")
    columns = ("--data", str(data), "--text", "words", "--label")
    code, _, err = await run("tools.train", *columns, "nothing", "--out", str(tmp_path / "m"))
    assert code == 2
    assert "no column" in err
    code, _, err = await run("tools.train", *columns, "code", "--out", str(tmp_path / "m"))
    assert code == 2
    assert "two labels" in err
    code, _, err = await run(
        "tools.evaluate", *columns, "code", "--model", str(tmp_path), "--predictions", str(tmp_path / "p")
    )
    assert code == 2
    assert "model.json" in err
