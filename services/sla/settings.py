"""What a city may set for sla: its time limits, in the profile's section `sla`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.sla.domain.policy import Policy, PolicyError
from services.sla.terms import default_policy
from shared.city import CityError


@dataclass(frozen=True, slots=True)
class SlaSettings:
    """`policy`: the time limits in force until another version is posted."""

    policy: Policy

    @classmethod
    def of(cls, section: Mapping[str, Any] | None) -> "SlaSettings":
        """From `sla: {policy: {…}}` of profile.yaml (form: `domain/policy.py`); without it the table of domain.md.

        Raises `CityError` naming the field.
        """
        given = (section or {}).get("policy")
        if given is None:
            return cls(default_policy())
        try:
            return cls(Policy.from_data(given))
        except PolicyError as error:
            raise CityError(f"profile.yaml, sla/policy{error.pointer}: {error.detail}") from error
