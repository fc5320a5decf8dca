"""Alert rules speak of figures that exist and of pages that exist."""

from __future__ import annotations

import re
from typing import Any

import prometheus_client
import pytest
import yaml

from shared.telemetry import metrics
from tools.k8s.overlays import ROOT

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/observability/alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]


def known_figures() -> set[str]:
    assert metrics.LAG is not None
    return {sample.name for family in prometheus_client.REGISTRY.collect() for sample in family.samples} | {
        f"{family.name}{suffix}"
        for family in prometheus_client.REGISTRY.collect()
        for suffix in ({"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",)))
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_alert_uses_figures_that_the_services_expose(rule: dict[str, Any]) -> None:
    used = set(re.findall(r"\bsushu_\w+", rule["expr"]))
    assert used
    assert used <= known_figures()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_alert_names_a_runbook_that_exists(rule: dict[str, Any]) -> None:
    assert (ROOT / rule["annotations"]["runbook"]).is_file()
