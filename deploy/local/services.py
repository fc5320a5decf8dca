"""The services that a local stack runs, in one place, in the order of the loop."""

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

WORDS = {
    "intake": "诉求受理",
    "classify": "智能分类",
    "dispatch": "精准派单",
    "sla": "时限督办",
    "feedback": "回访评价",
    "evaluate": "考核评估",
    "journal": "事件总账",
}


def local_services() -> list[str]:
    """Names of the services of this checkout, in the order of the loop."""
    return [name for name in WORDS if (CHECKOUT / "services" / name / "bootstrap.py").exists()]
