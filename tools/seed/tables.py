"""Which tables hold cases. Every table of every service stands in one of these lists (a test sees to it)."""

from typing import Final

OF_CASES: Final = {
    "intake": (
        "appeals",
        "vault",
        "external_keys",
        "reference_keys",
        "cases",
        "case_views",
        "case_clocks",
        "timeline",
    ),
    "classify": ("labels", "reviews"),
    "dispatch": ("cases", "work_orders", "order_words", "lamps", "disputes", "approvals", "handoffs"),
    "sla": ("clock_sets", "supervisions", "moved_deadlines", "suspensions"),
    "feedback": ("cases", "links", "exclusions", "false_completions"),
    "evaluate": ("cases", "moves", "late_rounds", "repeats", "labels", "false_completions", "completions"),
    "journal": ("events",),
}
"""cloned row by row; the journal last, because its head is locked until the commit"""

OF_RUNTIME: Final = ("timers", "inbox_sequences", "inbox_early")
"""cloned in every schema: open cases have armed timers, and a next fact finds its turn"""

COUNTED: Final = {"classify": ("label_counts",), "evaluate": ("units",), "journal": ("head",)}
"""written by the seed in another way than by cloning"""

REGISTERS: Final = {
    "intake": ("learned_places", "place_lessons"),
    "classify": (
        "knowledge",
        "catalogue_versions",
        "catalogue_pairs",
        "safety_examples",
        "tags",
        "tag_months",
        "tag_proposals",
        "models",
    ),
    "dispatch": ("catalogues", "registries", "unit_versions", "duties", "rules_off"),
    "sla": ("policies", "calendars"),
    "evaluate": ("formulas", "tag_names"),
    "journal": ("webhooks",),
}
"""what the city set up: a seeded case refers to it"""

PASSING: Final = {
    "intake": ("attachments", "handoffs", "peer_messages", "peer_nonces"),
    "classify": ("appeal_units", "recent", "review_clocks", "review_leases", "second_opinions", "advice", "memory"),
    "dispatch": ("attachments", "replays", "replay_moves"),
    "feedback": ("rated", "rating_keys", "signs"),
    "journal": ("webhook_deliveries", "peer_feeds", "peer_nonces"),
    "evaluate": (
        "publications",
        "rebuild_publications",
        "rating_signs",
        *(
            f"{ledger}_{name}"
            for ledger in ("ledger", "rebuild")
            for name in ("reading", "cases", "moves", "late_rounds", "repeats", "units", "labels", "false_completions")
        ),
    ),
}
"""of the last days, of what persons do just now, of files (a seeded case has none), or read from the journal when a
month is published"""

NOT_SEEDED: Final = (
    "outbox",
    "inbox_offsets",
    "inbox_events",
    "dead_letters",
    "idempotency_keys",
    "audit",
    "alembic_version",
    "runtime_version",
)
"""nothing of it is left of a case that ended long ago; the audit is a hash chain of what persons really did"""
