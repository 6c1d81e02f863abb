"""The engine of a Ray cluster: each process of a run is an actor, all of them placed at once.

What belongs to an attempt carries its run and fence in its name and is detached from this service:
submitted again, the attempt is found and not started twice; a service that starts anew takes up
what its predecessor left. When nobody has asked after an attempt for a while, it ends itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
import ray
from ray.exceptions import ActorUnavailableError, RayError
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

from services.trainer.attempt import Attempt
from services.trainer.devices import Device, offered
from services.trainer.engine.cluster_share import (
    ClusterNode,
    devices_of,
    free_count,
    pack,
    resources_of,
)
from services.trainer.engine.engine import Execution
from services.trainer.engine.member import Member, Seen
from services.trainer.engine.verdict import explain, verdict
from services.trainer.gang import Gang
from services.trainer.run import ExitCode, Manifest, Phase
from services.trainer.runtime.stopping import CANCEL, PAUSE, TERMINATE
from services.trainer.settings import TrainerSettings

log = logging.getLogger(__name__)

NAMESPACE = "attune"
POLL_S = 0.5
"""Time between two looks at the processes of a run."""
ANSWER_MAX_S = 30.0
"""Longest that a process's actor may take to answer before its machine counts as lost."""
PLACE_MAX_S = 15 * 60.0
"""Longest that a run waits for its devices."""
PROBE_MAX_S = 60.0
"""Longest that a machine may take to say what it has; Ray starts a process there for it."""
REACH_MAX_S = 10.0
"""Longest that the cluster's head may take to accept a connection."""
END_MAX_S = 15.0
"""Longest to wait for actors to end their processes before they are killed."""
HANDED_ON = ("ATTUNE_", "HF_", "TRANSFORMERS_", "TOKENIZERS_", "OMP_", "MKL_", "NCCL_", "GLOO_")
"""How the variables begin that a run on another machine gets from here."""


class _RayMember(Member):
    """The member as an actor: it knows its cluster."""

    def host(self) -> str:
        """Return the address of the machine that this actor was placed on."""
        address: str = ray.util.get_node_ip_address()
        return address

    def on_silence(self) -> None:
        """Give the devices back, which ends the actors of the whole gang."""
        remove_placement_group(get_current_placement_group())


class RayExecution:
    """One attempt on the cluster."""

    def __init__(self, engine: RayEngine, attempt: Attempt, manifest: Manifest) -> None:
        """Place it in the background, or find it placed."""
        self.abandoned = False
        self.oom_killed = False
        self._engine = engine
        self._attempt = attempt
        self._manifest = manifest
        self._size = max(1, int(manifest.placement.get("device_count", 1)))
        self._name = engine.name_of(manifest)
        self._members: list[Any] = []
        self._asked: list[bytes] = []
        self._listeners: list[Callable[[], None]] = []
        self._message_count = 0
        self._task = asyncio.create_task(self._run())

    def on_message(self, listener: Callable[[], None]) -> None:
        """Call the listener whenever the run says that something has changed."""
        self._listeners.append(listener)

    def cancel(self) -> None:
        """Ask the run to stop at its next step."""
        self._tell(CANCEL)

    def pause(self) -> None:
        """Ask the run to halt at its next checkpoint."""
        self._tell(PAUSE)

    def terminate(self) -> None:
        """Ask the run to halt because this service ends."""
        self._tell(TERMINATE)

    async def abandon(self) -> None:
        """End the run at once, its lease being no longer ours."""
        self.abandoned = True
        await self.stop()

    async def wait(self) -> int:
        """Wait for the end and return the ExitCode; negative for a signal."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():  # By `stop`, not the one who waits.
                return ExitCode.ORPHANED
            raise

    async def stop(self) -> None:
        """End the run at once and give its devices back."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def _tell(self, message: bytes) -> None:
        if message in self._asked:
            return
        self._asked.append(message)
        if self._members:
            self._members[0].tell.remote(message)

    async def _run(self) -> int:
        try:
            halted = await self._place()
            return halted if halted is not None else await self._watch()
        except (RayError, TimeoutError) as error:
            if self._attempt.result(Phase.REGISTER) is not None:
                # Its last act was done, whatever became of who watched it.
                return ExitCode.SUCCEEDED
            log.warning("attempt %s: %s", self._name, next(iter(str(error).splitlines()), ""))
            text = "A machine of the cluster was lost, or a process on it, with what ran there."
            explain(self._attempt, self._size, "PROCESS_LOST", text)
            return ExitCode.CRASHED
        finally:
            await self._release()

    async def _place(self) -> int | None:
        """Reserve the devices and start the processes; return how it ended where it did not."""
        group = await self._engine.group(self._name, self._size)
        begin_s = time.monotonic()
        while not await asyncio.to_thread(group.wait, POLL_S):
            if CANCEL in self._asked:
                return ExitCode.CANCELLED
            if PAUSE in self._asked:
                return ExitCode.PAUSED
            if TERMINATE in self._asked:
                return ExitCode.TERMINATED
            if time.monotonic() - begin_s > PLACE_MAX_S:
                text = f"No {self._size} devices of the cluster were free for {PLACE_MAX_S:.0f} s."
                self._attempt.write_error("NO_DEVICES", text)
                return ExitCode.CRASHED
        self._members = await asyncio.to_thread(self._engine.members, self._name, group, self._size)
        host = await _answer(self._members[0].host.remote())
        environment = handed_on(self._manifest)
        folder = self._attempt.folder
        for rank, member in enumerate(self._members):
            gang = Gang(rank, self._size, 0, host) if self._size > 1 else None
            own = folder if gang is None else gang.folder(folder)
            also = {} if gang is None else gang.environment()
            await _answer(member.start.remote(str(folder), str(own), environment | also))
        for message in self._asked:
            self._members[0].tell.remote(message)
        return None

    async def _watch(self) -> int:
        answered_s = time.monotonic()
        while True:
            polls = (_answer(one.poll.remote()) for one in self._members)
            seen = await asyncio.gather(*polls, return_exceptions=True)
            failed = [one for one in seen if isinstance(one, BaseException)]
            for error in failed:
                passing = isinstance(error, ActorUnavailableError | TimeoutError)
                if not passing or time.monotonic() - answered_s > ANSWER_MAX_S:
                    raise error
            found = [one for one in seen if isinstance(one, Seen)]
            if not failed:
                answered_s = time.monotonic()
                self._look_at(found)
                code = verdict([one.code for one in found])
                if code is not None:
                    if code == ExitCode.CRASHED:
                        text = "A process of the run ended without a word."
                        explain(self._attempt, self._size, "CRASHED", text)
                    return code
            await asyncio.sleep(POLL_S)

    def _look_at(self, seen: Sequence[Seen]) -> None:
        self.oom_killed = any(one.oom_killed for one in seen)
        if seen[0].message_count != self._message_count:
            self._message_count = seen[0].message_count
            for listener in self._listeners:
                listener()

    async def _release(self) -> None:
        ends = (_answer(member.stop.remote(), END_MAX_S) for member in self._members)
        # One that does not answer is gone, or goes with the reservation.
        await asyncio.gather(*ends, return_exceptions=True)
        await asyncio.to_thread(self._engine.remove, self._name)


class RayEngine:
    """Runs attempts on a cluster; they outlive this service for as long as a lease lasts."""

    name = "ray"

    def __init__(self, settings: TrainerSettings) -> None:
        """Keep what is asked for; the cluster is joined."""
        # The same after a restart: the runs of the service before go on.
        self.instance = str(uuid5(NAMESPACE_URL, f"attune:{settings.node_id}"))
        self._settings = settings
        self._nodes: dict[str, ClusterNode] = {}

    @classmethod
    async def connected(cls, settings: TrainerSettings) -> RayEngine:
        """Return the engine of the cluster that the settings name.

        Raises:
            SystemExit: In one line, if none answers.
        """
        address = settings.ray_address
        try:
            await _reach(address)
            await asyncio.to_thread(
                ray.init,
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                configure_logging=False,
            )
        except (RayError, OSError, RuntimeError, TimeoutError, ValueError) as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise SystemExit(
                f"ATTUNE_TRAINER_RAY_ADDRESS={address!r}: no cluster to be joined from here "
                f"({said[0][:200]}). Start Ray on this machine with `ray start --address=HEAD:6379 "
                "--num-cpus=0`, or `ray start --head` for a cluster of its own."
            ) from None
        return cls(settings)

    async def devices(self) -> Sequence[Device]:
        """Return what the machines of the cluster have."""
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
        """Return how many more runs of one device can start."""
        free, all_of_it = await asyncio.gather(
            asyncio.to_thread(ray.available_resources), asyncio.to_thread(ray.cluster_resources)
        )
        unit = resources_of([all_of_it], self._settings.threads)
        total = sum(len(node.devices) for node in self._nodes.values())
        return free_count(total, held, free, unit)

    async def start(self, attempt: Attempt, manifest: Manifest) -> Execution:
        """Place the attempt in the background, or take up the execution that there is."""
        return RayExecution(self, attempt, manifest)

    async def find(self, attempt: Attempt, manifest: Manifest) -> Execution | None:
        """Return the execution of an attempt whose first process is there, or None."""
        try:
            await asyncio.to_thread(ray.get_actor, f"{self.name_of(manifest)}-0", NAMESPACE)
        except ValueError:
            return None
        return RayExecution(self, attempt, manifest)

    async def sweep(self, kept: Sequence[Manifest]) -> None:
        """Give back what earlier services of this node hold for attempts other than these."""
        names = {self.name_of(manifest) for manifest in kept}
        table = await asyncio.to_thread(placement_group_table)
        for entry in table.values():
            name = str(entry["name"])
            if name.startswith(self._prefix) and name not in names and entry["state"] != "REMOVED":
                log.warning("giving back the devices of %s, which nobody runs", name)
                await asyncio.to_thread(self.remove, name)

    async def close(self) -> None:
        """Leave the cluster."""
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

    def remove(self, name: str) -> None:
        """Give a reservation back, which ends its actors; blocks."""
        try:
            remove_placement_group(get_placement_group(name))
        except ValueError:
            return

    @property
    def _prefix(self) -> str:
        return f"attune-{self._settings.node_id}-"

    async def _probe(self, key: str) -> list[Device] | None:
        """Ask a machine what it has; None when it does not answer."""
        affinity = NodeAffinitySchedulingStrategy(key, soft=False)
        ask: Any = ray.remote(offered)
        asked = ask.options(num_cpus=0, scheduling_strategy=affinity, max_retries=0)
        try:
            found = await _answer(asked.remote(self._settings.accelerator), PROBE_MAX_S)
        except (RayError, TimeoutError) as error:
            log.warning("machine %s of the cluster is left out: %s", key[:12], error)
            return None
        return list(found)


async def _reach(address: str) -> None:
    """Knock at the head's door; Ray itself would knock for minutes.

    Raises:
        OSError: If nobody listens there.
        TimeoutError: If nothing comes back.
    """
    if address != "auto":
        host, _, port = address.rpartition(":")
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), REACH_MAX_S)
        writer.close()


async def _answer(reference: Any, timeout_s: float = ANSWER_MAX_S) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(reference.future()), timeout_s)


def handed_on(manifest: Manifest) -> dict[str, str]:
    """Return what the process of a run elsewhere gets from this one's environment."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
    return kept if manifest.accelerator == "cuda" else {**kept, "CUDA_VISIBLE_DEVICES": ""}
