"""The model card: what a person must know before switching a model on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def model_card(version: str, training: Mapping[str, Any], source: str) -> str:
    """Markdown for MODEL_CARD.md. `source` says in words which texts were used."""
    held_out = training.get("held_out", {})
    options = training.get("options", {})
    orders = ", ".join(str(order) for order in options.get("orders", ()))
    return f"""# {version}

**What it does.** Suggests for a citizen's appeal which label it belongs to, with five candidates, a calibrated
probability and the words that decided. A person decides below the city's threshold.

**How.** TF-IDF over character n-grams of orders {orders} and past cases of like meaning (configuration
{options.get("configuration")}), one least-squares fit of {training.get("labels")} labels, two-stage calibration on the
{training.get("calibration_texts")} most recent texts, each judged by a fit without it.

**Trained on.** {source}: {training.get("texts")} texts, the smallest label has {training.get("smallest_label")}.

**On the held-out texts** (by the model without them): accuracy {held_out.get("accuracy")},
top-3 {held_out.get("top3")}. Evaluate it on your own recent cases before use: `make evaluate`.

**Tags.** {_tags(training.get("tags", []))}

**Limits.** It knows only the labels and the wording of its texts; a new label needs examples, and a place or a season
that it never saw makes it unsure. It reads the first 4,000 characters. It must not decide alone about danger: safety
words do.
"""


def _tags(heads: Sequence[Mapping[str, Any]]) -> str:
    if not heads:
        return "It has learnt none: too few texts that a person tagged, or none that it sets precisely."
    rows = "\n".join(f"| {one['tag']} | {one['texts']} | {one['precision']} | {one['recall']} |" for one in heads)
    return f"""Set where at least eight of ten were right on texts that the fit had not seen:

| tag | texts | precision | recall |
|---|---|---|---|
{rows}"""
