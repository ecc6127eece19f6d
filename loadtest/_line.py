"""A measurement, as a line of the table."""

from __future__ import annotations

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """`value` in `unit`; `budget` is its maximum and `at_least` its minimum, if there are any."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    at_least: float | None = None

    @property
    def within(self) -> bool:
        return (self.budget is None or self.value <= self.budget) and (
            self.at_least is None or self.value >= self.at_least
        )

    def row(self) -> str:
        limits = [f"at most {self.budget:g}"] if self.budget is not None else []
        limits += [f"at least {self.at_least:g}"] if self.at_least is not None else []
        goal = f"  ({', '.join(limits)}{'' if self.within else ', MISSED'})" if limits else ""
        return f"{self.name:<58} {self.value:>10.3f} {self.unit}{goal}"
