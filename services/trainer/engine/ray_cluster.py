"""The engine of a Ray cluster: each process of a run is an actor, all of them placed at once.

What belongs to an attempt carries its run and fence in its name and is detached from this service:
submitted again, the attempt is found and not started twice; a service that starts anew takes up
what its predecessor left. When nobody has asked after an attempt for a while, it ends itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
import ray
from ray.exceptions import RayError
from ray.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from services.common.errors import Unavailable
from services.trainer.attempt import Attempt
from services.trainer.devices import Device, offered
from services.trainer.engine.cluster_head import AWAY_MAX_S, ClusterHead
from services.trainer.engine.cluster_share import (
    ClusterNode,
    devices_of,
    free_count,
    pack,
    resources_of,
)
from services.trainer.engine.engine import Execution
from services.trainer.engine.member import Member
from services.trainer.engine.ray_execution import RayExecution, answer
from services.trainer.run import Manifest
from services.trainer.settings import TrainerSettings

log = logging.getLogger(__name__)

NAMESPACE = "attune"
PROBE_MAX_S = 60.0
"""Longest that a machine may take to say what it has; Ray starts a process there for it."""
SAID_MAX = 300
"""Letters that are repeated of what Ray says."""


class _RayMember(Member):
    """The member as an actor: it knows its cluster."""

    def host(self) -> str:
        """Return the address of the machine that this actor was placed on."""
        address: str = ray.util.get_node_ip_address()
        return address

    def on_silence(self) -> None:
        """Give the devices back, which ends the actors of the whole gang."""
        remove_placement_group(get_current_placement_group())


class RayEngine:
    """Runs attempts on a cluster; they outlive this service for as long as a lease lasts."""

    name = "ray"

    def __init__(self, settings: TrainerSettings) -> None:
        """Keep what is asked for; the cluster is joined later."""
        # The same after a restart: the runs of the service before go on.
        self.instance = str(uuid5(NAMESPACE_URL, f"attune:{settings.node_id}"))
        self._settings = settings
        self._nodes: dict[str, ClusterNode] = {}
        self._head = ClusterHead(settings.ray_address)
        self._watch: asyncio.Task[None] | None = None
        """Of the head; there is none until the cluster is joined."""

    @classmethod
    async def connected(cls, settings: TrainerSettings) -> RayEngine:
        """Return the engine of the cluster that the settings name.

        While nobody listens at the head's address it offers nothing, and joins when somebody does.

        Raises:
            SystemExit: In one line, if what listens there cannot be joined, or `auto` finds none.
        """
        engine = cls(settings)
        if settings.ray_address != "auto" and not await engine._head.answers():
            log.warning("%s", engine._away())
            return engine
        try:
            await engine._join()
        except Unavailable as error:
            raise SystemExit(error.message) from None
        return engine

    async def devices(self) -> Sequence[Device]:
        """Return what the machines of the cluster have.

        Raises:
            Unavailable: If the cluster's head is away, or does not take this machine in.
        """
        await self._present()
        alive = {
            node["NodeID"]: node for node in await asyncio.to_thread(ray.nodes) if node["Alive"]
        }
        self._nodes = {key: one for key, one in self._nodes.items() if key in alive}
        amounts = {key: node["Resources"] for key, node in alive.items()}
        unit = resources_of(amounts.values(), self._settings.threads)
        fresh = [key for key in alive if key not in self._nodes]
        answers = await asyncio.gather(*(self._probe(key) for key in fresh))
        for key, found in zip(fresh, answers, strict=True):
            if found is not None:
                self._nodes[key] = ClusterNode(devices_of(found, amounts[key], unit))
        return [device for node in self._nodes.values() for device in node.devices]

    async def free_slot_count(self, held: int) -> int:
        """Return how many more runs of one device can start.

        Raises:
            Unavailable: As `devices`.
        """
        await self._present()
        free, all_of_it = await asyncio.gather(
            asyncio.to_thread(ray.available_resources), asyncio.to_thread(ray.cluster_resources)
        )
        unit = resources_of([all_of_it], self._settings.threads)
        total = sum(len(node.devices) for node in self._nodes.values())
        return free_count(total, held, free, unit)

    async def start(self, attempt: Attempt, manifest: Manifest) -> Execution:
        """Place the attempt in the background, or take up the execution that there is."""
        return RayExecution(self, self.name_of(manifest), attempt, manifest)

    async def find(self, attempt: Attempt, manifest: Manifest) -> Execution | None:
        """Return the execution of an attempt whose first process is there, or None."""
        if not ray.is_initialized():
            return None
        try:
            await asyncio.to_thread(ray.get_actor, f"{self.name_of(manifest)}-0", NAMESPACE)
        except ValueError:
            return None
        return RayExecution(self, self.name_of(manifest), attempt, manifest)

    async def sweep(self, kept: Sequence[Manifest]) -> None:
        """Give back what earlier services of this node hold for attempts other than these."""
        if not ray.is_initialized():
            return
        names = {self.name_of(manifest) for manifest in kept}
        table = await asyncio.to_thread(placement_group_table)
        for entry in table.values():
            name = str(entry["name"])
            if name.startswith(self._prefix) and name not in names and entry["state"] != "REMOVED":
                log.warning("giving back the devices of %s, which nobody runs", name)
                await self.remove(name)

    async def close(self) -> None:
        """Leave the cluster."""
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.to_thread(ray.shutdown)

    def name_of(self, manifest: Manifest) -> str:
        """Return the name under which the cluster knows an attempt."""
        return f"{self._prefix}{manifest.run_id}-{manifest.fence}"

    async def group(self, name: str, size: int) -> PlacementGroup:
        """Return the reservation of that name, made now if there is none."""
        try:
            return await asyncio.to_thread(get_placement_group, name)
        except ValueError:
            pass
        amounts = await asyncio.to_thread(ray.cluster_resources)
        bundle = resources_of([amounts], self._settings.threads)
        strategy = pack(size, self._nodes.values())
        return await asyncio.to_thread(
            lambda: placement_group([bundle] * size, strategy, name=name, lifetime="detached")
        )

    def members(self, name: str, group: PlacementGroup, size: int) -> list[Any]:
        """Return the actors of an attempt by rank, made now where there are none; blocks."""
        actor: Any = ray.remote(_RayMember)
        bundle = group.bundle_specs[0]
        return [
            actor.options(
                name=f"{name}-{rank}",
                namespace=NAMESPACE,
                get_if_exists=True,
                lifetime="detached",
                max_restarts=0,
                num_cpus=bundle.get("CPU", 0),
                num_gpus=bundle.get("GPU", 0),
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=rank
                ),
            ).remote()
            for rank in range(size)
        ]

    async def remove(self, name: str) -> None:
        """Give a reservation back, which ends its actors; one without its head ends by itself."""
        if not await self._head.answers():
            return
        try:
            group = await asyncio.to_thread(get_placement_group, name)
        except ValueError:
            return
        await asyncio.to_thread(remove_placement_group, group)

    @property
    def _prefix(self) -> str:
        return f"attune-{self._settings.node_id}-"

    async def _join(self) -> None:
        address = self._settings.ray_address
        try:
            await asyncio.to_thread(
                ray.init,
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                configure_logging=False,
            )
        except (RayError, OSError, RuntimeError, TimeoutError, ValueError) as error:
            said = " ".join(str(error).split())[:SAID_MAX] or type(error).__name__
            raise Unavailable(
                f"ATTUNE_TRAINER_RAY_ADDRESS={address!r}: no cluster to be joined from here "
                f"({said}). Start Ray on this machine, from this environment: `ray start "
                "--address=HEAD:6379 --num-cpus=0`, or `ray start --head` for one of its own.",
                reason="CLUSTER_NOT_JOINED",
            ) from None
        self._head = ClusterHead(ray.get_runtime_context().gcs_address)
        self._watch = asyncio.create_task(self._end_when_lost())

    async def _present(self) -> None:
        """Return if the cluster can be asked; join it if that was not done."""
        if not await self._head.answers():
            raise Unavailable(self._away(), reason="CLUSTER_AWAY")
        if not ray.is_initialized():
            await self._join()
            await self.sweep(())
            log.info("the cluster at %s is joined", self._head.address)

    async def _end_when_lost(self) -> None:
        """Have this service stop once the head is lost: Ray joins a cluster once in a process."""
        await self._head.until_lost()
        log.error("for %.0f s: %s This service starts anew.", AWAY_MAX_S, self._away())
        signal.raise_signal(signal.SIGTERM)

    def _away(self) -> str:
        return (
            f"The head of the Ray cluster at {self._head.address} does not answer; training waits "
            "for it. Start it again, or name another one: `attune down`, then `attune up`."
        )

    async def _probe(self, key: str) -> list[Device] | None:
        """Ask a machine what it has; None when it does not answer."""
        affinity = NodeAffinitySchedulingStrategy(key, soft=False)
        ask: Any = ray.remote(offered)
        asked = ask.options(num_cpus=0, scheduling_strategy=affinity, max_retries=0)
        try:
            found = await answer(asked.remote(self._settings.accelerator), PROBE_MAX_S)
        except (RayError, TimeoutError) as error:
            log.warning("machine %s of the cluster is left out: %s", key[:12], error)
            return None
        return list(found)
