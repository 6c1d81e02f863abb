"""Ways to lay a stage out on devices of one kind: how many, how split, how many rows at once; pure.

An optimizer step keeps its rows exactly: micro-batch x accumulation x devices is the effective
batch, whatever the layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from services.scheduler.demand import Demand
from services.scheduler.failed_layout import FailedLayout
from services.scheduler.memory import Layout, MemoryEstimate, estimate_memory
from services.scheduler.profile import Profile
from services.scheduler.runtime import Batching, TimeEstimate, estimate_time

MICRO_BATCH_MAX = 64
"""Rows of one pass; more make no step faster."""
WAYS = ((False, False), (False, True), (True, False), (True, True))
"""Whether the devices split the weights, and whether activations are computed again."""
COUNTS = (1, 2, 4, 8)
"""Devices that are used together: what machines have, and what halves evenly."""


@dataclass(frozen=True)
class Placement:
    """A stage on devices of one kind."""

    profile: Profile
    capacity_bytes: int
    """What a run may use of each device."""
    batching: Batching
    memory: MemoryEstimate
    """Of each device."""
    demand: Demand = field(repr=False)

    @cached_property
    def time(self) -> TimeEstimate:
        """Expected times; reckoned when they are asked for, as what does not fit needs none."""
        demand = self.demand
        return estimate_time(
            demand.shape, demand.method, self.profile, demand.workload, self.batching
        )

    @property
    def device_count(self) -> int:
        """Devices that are used together."""
        return self.batching.device_count

    @property
    def fits(self) -> bool:
        """Whether even the high estimate of memory is there."""
        return self.memory.high_bytes <= self.capacity_bytes

    @property
    def cost_micro_usd(self) -> int:
        """Expected cost in millionths of a US dollar, all devices together."""
        price = self.profile.price_micro_usd_per_hour
        return self.time.cost_micro_usd(price, self.device_count)

    @property
    def price_micro_usd_per_hour(self) -> int:
        """Of all devices together, in millionths of a US dollar."""
        return self.profile.price_micro_usd_per_hour * self.device_count


def place(
    demand: Demand, profile: Profile, capacity_bytes: int, counts: Sequence[int] = (1,)
) -> Placement:
    """Return the cheapest layout that fits, or else the one that lacks least.

    Args:
        demand: Of the stage.
        profile: Of each device.
        capacity_bytes: What a run may use of each.
        counts: How many may be used together, in rising order.
    """
    found = list(placements(demand, profile, capacity_bytes, counts))
    fitting = [placed for placed in found if placed.fits]
    if fitting := worth_trying(fitting, demand.failed):
        return min(fitting, key=cost_and_time)
    return min(found, key=lambda placed: placed.memory.high_bytes)


def placements(
    demand: Demand, profile: Profile, capacity_bytes: int, counts: Sequence[int]
) -> Iterator[Placement]:
    """Yield layouts of which one is best, whatever is wanted; at least one.

    Memory grows with the rows of a pass, so for each number of devices and each way to spend them
    the largest micro-batch that fits is found by halves. A single row, which is never padded, is
    looked at too. Where none fits, the smallest stands for all.

    Checkpointing, sharding and more devices only buy memory at the price of time. Where all rows
    fit without them they are not looked at, and at most twice the devices that are enough are, but
    where there is a deadline.
    """
    enough = 0
    for count in counts:
        if enough and count > 2 * enough:
            return
        sizes = _sizes(demand.row_count, count)
        if not sizes:
            continue
        for sharded, checkpointing in WAYS:
            if sharded and (count == 1 or not demand.can_shard):
                continue
            spend = _Spend(demand, profile, capacity_bytes, count, sharded, checkpointing)
            largest = spend.largest(sizes)
            yield from spend.laid_out(sizes, largest)
            if largest >= 0 and demand.deadline_s is None:
                enough = enough or count
            if largest == len(sizes) - 1 and not checkpointing:
                if not sharded and demand.deadline_s is None:
                    return
                break


def avoids(placement: Placement, failed: Sequence[FailedLayout]) -> bool:
    """Return whether a placement keeps clear of everything that ran out of memory.

    It does where its device is larger, or where it holds fewer rows at once, or as many and
    computes activations again, and is expected to need less for it.
    """
    return not any(
        placement.capacity_bytes <= one.capacity_bytes and not _is_smaller(placement, one)
        for one in failed
    )


def worth_trying(
    placements: Sequence[Placement], failed: Sequence[FailedLayout]
) -> list[Placement]:
    """Return the placements that avoid what failed: smaller micro-batches before checkpointing."""
    left = [placed for placed in placements if avoids(placed, failed)]
    if not failed:
        return left
    return [placed for placed in left if not placed.batching.gradient_checkpointing] or left


def _is_smaller(placement: Placement, failed: FailedLayout) -> bool:
    batching = placement.batching
    # Fewer rows without checkpointing may need more than many rows with it.
    if placement.memory.formula_bytes >= failed.expected_bytes:
        return False
    if batching.micro_batch_size == failed.micro_batch_size:
        return batching.gradient_checkpointing and not failed.gradient_checkpointing
    return batching.micro_batch_size < failed.micro_batch_size


def cost_and_time(placed: Placement) -> tuple[int, float]:
    """Return what the better of two placements has less of: cost, then time."""
    return placed.cost_micro_usd, placed.time.expected_s


@dataclass(frozen=True)
class _Spend:
    """One way to use devices; only the rows of a pass are open."""

    demand: Demand
    profile: Profile
    capacity_bytes: int
    count: int
    sharded: bool
    checkpointing: bool

    def largest(self, sizes: Sequence[int]) -> int:
        """Return the position of the largest micro-batch that fits; -1 if none does.

        Args:
            sizes: Rows of a pass that keep the batch, in rising order; never empty.
        """
        if self._fits(sizes[-1]):
            return len(sizes) - 1
        if not self._fits(sizes[0]):
            return -1
        low, high, found = 1, len(sizes) - 2, 0
        while low <= high:
            middle = (low + high) // 2
            if self._fits(sizes[middle]):
                low, found = middle + 1, middle
            else:
                high = middle - 1
        return found

    def laid_out(self, sizes: Sequence[int], largest: int) -> Iterator[Placement]:
        """Yield the largest micro-batch that fits, and a single row; the smallest if none fits."""
        yield self._laid_out(sizes[max(largest, 0)])
        if largest > 0 and sizes[0] == 1:
            yield self._laid_out(1)

    def _fits(self, size: int) -> bool:
        if self._memory(size).high_bytes > self.capacity_bytes:
            return False
        failed = self.demand.failed
        return not failed or avoids(self._laid_out(size), failed)

    def _batching(self, size: int) -> Batching:
        steps = self.demand.row_count // (size * self.count)
        return Batching(size, steps, self.checkpointing, self.count, self.sharded)

    def _memory(self, size: int) -> MemoryEstimate:
        # Profiles of one number format need the same, whatever else they are.
        key = (
            self.count,
            self.sharded,
            self.checkpointing,
            size,
            self.profile.precision,
            self.profile.is_gpu,
        )
        known = self.demand.memo
        if key not in known:
            known[key] = self._formula(size)
        return self.demand.lessons.correct(known[key], self.profile)

    def _formula(self, size: int) -> MemoryEstimate:
        demand, batching = self.demand, self._batching(size)
        layout = Layout(
            size,
            demand.token_count,
            self.checkpointing,
            accumulates=batching.gradient_accumulation_steps > 1,
            objective=demand.objective,
            rollout=demand.rollout_of(batching),
            device_count=self.count,
            sharded=self.sharded,
        )
        return estimate_memory(
            demand.shape, demand.method, demand.rank, demand.target_modules, self.profile, layout
        )

    def _laid_out(self, size: int) -> Placement:
        return Placement(
            profile=self.profile,
            capacity_bytes=self.capacity_bytes,
            batching=self._batching(size),
            memory=self._memory(size),
            demand=self.demand,
        )


def _sizes(row_count: int, count: int) -> list[int]:
    """Return the rows of a pass that divide a step evenly over some devices, in rising order."""
    if row_count % count:
        return []
    share = row_count // count
    return [size for size in range(1, min(share, MICRO_BATCH_MAX) + 1) if share % size == 0]


def counts_of(profile: Profile) -> tuple[int, ...]:
    """Return how many devices of a profile may be used together."""
    return tuple(count for count in COUNTS if count <= profile.device_count_per_node)
