"""The workflow's rules as people see them: a few stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Rule(Protocol):
    """How far the steps of one rule are."""

    rule: str
    total: int
    running: int
    done: int
    failed: int
    seconds: float


@dataclass
class Stage:
    """Some rules that belong together, as far as a job has them."""

    title: str
    rules: list[Rule] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Steps of all its rules."""
        return sum(rule.total for rule in self.rules)

    @property
    def done(self) -> int:
        """Steps that are done."""
        return sum(rule.done for rule in self.rules)

    @property
    def state(self) -> str:
        """How far it is, in a word."""
        if any(rule.failed for rule in self.rules):
            return "failed"
        if self.done >= self.total:
            return "completed"
        return "running" if self.done or any(rule.running for rule in self.rules) else "pending"


# by the beginnings of rules' names; the first that fits
STAGES = {
    "Elevation": ("dem", "tile", "own_raster"),
    "Terrain and water": ("terrain", "wetness"),
    "Sun": ("sun",),
    "Climate": ("climate",),
    "Energy": ("eemt", "transfer"),
    "Maps, tables, report": ("",),
}
LAST = "all"  # which Snakemake counts as a step, though it does nothing


def of_rules(rules: Sequence[Rule]) -> list[Stage]:
    """Sort rules into the stages that there are."""
    stages = {title: Stage(title) for title in STAGES}
    for rule in rules:
        if rule.rule != LAST:
            stages[stage_of(rule.rule)].rules.append(rule)
    return [stage for stage in stages.values() if stage.rules]


def stage_of(rule: str) -> str:
    """Return the stage that a rule belongs to."""
    return next(title for title, names in STAGES.items() if rule.startswith(names))
