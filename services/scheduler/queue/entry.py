"""What a pass over the queue looks at: jobs that wait and run, machines, accounts; pure.

Times are seconds on one clock, since any fixed moment. A slot is what one device of a gang takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

HALF_LIFE_S = 7 * 86_400.0
"""Past use counts half as much after each week; our choice, the same as Slurm's default."""


class Priority(IntEnum):
    """How a project ranks its own jobs; it moves no other project's."""

    LOW = 1
    """Last within its project, and makes room at a checkpoint when a higher one waits."""
    NORMAL = 2
    HIGH = 3
    """First within its project."""


@dataclass(frozen=True, slots=True)
class Option:
    """One kind of machine that can run a job."""

    pool: str
    """Machines that are alike have one pool."""
    slots: int
    """Taken all at once, at least 1: on one machine, or on whole ones when none is so large."""
    expected_s: float
    """Time from start to end."""
    cost_micro_usd: int = 0
    """Expected cost, in millionths of a US dollar."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A start that was told to a person, and that no other job may delay any more."""

    start_s: float
    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits."""

    id: str
    project: str
    submit_s: float
    """When it began to wait; a job that lost its worker keeps it."""
    options: tuple[Option, ...]
    """What can run it, the preferred one first; empty when nothing can."""
    priority: Priority = Priority.NORMAL
    promise: Promise | None = None

    @property
    def work_s(self) -> float:
        """Slot-seconds that it is expected to use; 0 when nothing can run it."""
        return self.options[0].slots * self.options[0].expected_s if self.options else 0.0


@dataclass(frozen=True, slots=True)
class Running:
    """A job that holds machines."""

    id: str
    project: str
    machines: tuple[str, ...]
    slots: int
    start_s: float
    end_s: float
    """When it is expected to end."""
    priority: Priority = Priority.NORMAL
    stopping: bool = False
    """Whether it was asked to stop already, for whatever reason."""
    yield_count: int = 0
    """How often it has made room for others so far."""
    cost_micro_usd: int = 0
    """Of this attempt until now."""
    rest_micro_usd: int = 0
    """Expected from now to its end."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Something that runs jobs."""

    id: str
    pool: str
    slots: int
    """In all."""
    free: int
    """Free now."""
    asking: bool = False
    """Whether it asks for a job at this moment; of machines alike, such a one is taken first."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a project may use; None where it may use any amount."""

    running_jobs_max: int | None = None
    device_s_max: float | None = None
    budget_micro_usd: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A project's share, its quota and what it has used in leases that ended."""

    weight: float = 1.0
    """Its part of the machines relative to other projects', above 0."""
    quota: Quota = field(default_factory=Quota)
    recent_s: float = 0.0
    """Slot-seconds, halved for each week that has passed since."""
    device_s: float = 0.0
    """Slot-seconds ever."""
    spent_micro_usd: int = 0


NEWCOMER = Account()
"""A project that nobody has set up and that has used nothing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment."""

    now_s: float
    waiting: Sequence[Waiting]
    running: Sequence[Running]
    machines: Sequence[Machine]
    accounts: Mapping[str, Account]
    """By project; one that is missing is a newcomer."""

    def account(self, project: str) -> Account:
        """Return a project's account."""
        return self.accounts.get(project, NEWCOMER)
