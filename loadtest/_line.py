"""A measurement, as a line of the table."""

from __future__ import annotations

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """`value` in `unit`; `budget` is its maximum, if there is one."""

    name: str
    value: float
    unit: str
    budget: float | None = None

    @property
    def within(self) -> bool:
        return self.budget is None or self.value <= self.budget

    def row(self) -> str:
        goal = "" if self.budget is None else f"  (at most {self.budget:g}{'' if self.within else ', MISSED'})"
        return f"{self.name:<58} {self.value:>10.3f} {self.unit}{goal}"
