"""Proves parity of versions: does the engine answer as the trainer did?"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from services.common.artefacts import Artefacts, read_manifest
from services.common.clock import Clock
from services.common.database import Database
from services.common.errors import (
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.common.waiting import until_set
from services.serving.engines.adapter import objection_to
from services.serving.engines.engine_client import ENGINE_AWAY, EngineClient, EngineRefused
from services.serving.engines.greedy import Answer
from services.serving.engines.pool import Engines
from services.serving.peers import Trainer
from services.serving.registry.parity import BadParityFile, ParityLine, compare, read_lines
from services.serving.registry.version import Version, judge, reject
from services.serving.registry.version_store import VersionStore

log = logging.getLogger(__name__)

IDLE_S = 30.0
"""Between two looks at the registry; a commit causes one at once."""
RETRY_S = 2.0
"""Between two looks while something is being proved or waits for an engine."""
PROOFS_MAX = 8
"""Versions that are being proved, or wait for an engine, at once."""
CONCURRENT_MAX = 8
"""Prompts that the engine answers at once; it makes the tokens of all in one step."""
DEATHS_MAX = 5
"""Proofs that the engine did not survive, after which the adapter is to blame."""


class Unservable(Exception):
    """A version that cannot be compared at all; the text says why."""


class Proofs:
    """Takes one STAGED version after the other to READY or REJECTED."""

    def __init__(
        self,
        database: Database,
        versions: VersionStore,
        engines: Engines,
        trainer: Trainer,
        artefacts: Artefacts,
        clock: Clock,
    ) -> None:
        """Keep what a proof needs."""
        self._versions = versions
        self._engines = engines
        self._trainer = trainer
        self._artefacts = artefacts
        self._clock = clock
        self._deaths: Counter[str] = Counter()
        self._wake = asyncio.Event()
        database.on_commit(self._wake.set)

    async def run(self) -> None:
        """Prove whatever is STAGED, for ever; several at once, for one may wait for long."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                self._wake.clear()
                running = {key: task for key, task in running.items() if not task.done()}
                try:
                    staged = await self._versions.list_staged()
                except Exception:
                    log.exception("staged versions could not be read")  # The loop must go on.
                    staged = []
                for version in staged[: PROOFS_MAX - len(running)]:
                    if version.id not in running:
                        running[version.id] = asyncio.create_task(self._settle(version))
                if running:
                    await self._engines.wait_for_change(RETRY_S)
                    continue
                await until_set(self._wake, IDLE_S)
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def _settle(self, version: Version) -> None:
        """Prove a version and write the outcome; without one it stays STAGED."""
        try:
            settled = await self._prove(version)
            await self._versions.settle(settled)
        except (Unavailable, ResourceExhausted, FailedPrecondition) as error:
            log.info("the proof of %s waits: %s", version.name, error.message)
        except Conflict:
            log.info("%s was settled elsewhere", version.name)
        except Exception:
            log.exception("the proof of %s failed", version.name)  # The others must go on.
        else:
            log.info("%s is %s: %s", settled.name, settled.state, settled.state_reason)

    async def _prove(self, version: Version) -> Version:
        """Return the version after its proof.

        Raises:
            Unavailable: If no engine answers, or it went away in the middle of it.
            ResourceExhausted: If there is no room for an engine, or in it.
            FailedPrecondition: If the files of its base are not at hand.
        """
        try:
            lines = await asyncio.to_thread(read_parity, self._folder(version))
            version = await self._in_servable_form(version)
            async with self._engines.hold(version.weights) as client:
                answers = await answer_all(client, version.weights.engine_model, lines)
        except Unservable as error:
            return reject(version, str(error), self._clock.now())
        except EngineRefused as error:
            reason = f"The engine refuses the adapter: {error.message}"
            return reject(version, reason, self._clock.now())
        except Unavailable as error:
            self._deaths[version.id] += error.reason == ENGINE_AWAY
            if self._deaths[version.id] < DEATHS_MAX:
                raise
            reason = f"The engine did not survive {DEATHS_MAX} attempts to prove this version."
            return reject(version, reason, self._clock.now())
        pairs = [(line.expected, answer) for line, answer in zip(lines, answers, strict=True)]
        return judge(version, compare(pairs, version.parity_tolerance), self._clock.now())

    def _folder(self, version: Version) -> Path:
        """Return the folder that the trainer published, whose parity file is proved."""
        if version.adapter_sha256:
            return self._artefacts.adapter(version.adapter_sha256)
        return self._artefacts.merged(version.merged_sha256)

    async def _in_servable_form(self, version: Version) -> Version:
        """Return the version as an engine can hold it: merged, where it cannot hold the adapter.

        Raises:
            Unservable: If it cannot be merged either.
            Unavailable: If the trainer, which merges, does not answer.
        """
        if not version.is_adapter:
            return version
        objection = await asyncio.to_thread(read_objection, self._folder(version))
        if not objection:
            return version
        log.info("%s is merged: %s", version.name, objection)
        try:
            merged_sha256 = await self._trainer.merge(version.adapter_sha256)
        except (NotFound, FailedPrecondition, InvalidArgument) as error:
            raise Unservable(
                f"The engine cannot hold this adapter ({objection}), and it cannot be merged: "
                f"{error.message}"
            ) from None
        return await self._versions.make_whole(version, merged_sha256)


async def answer_all(
    client: EngineClient, engine_model: str, lines: Sequence[ParityLine]
) -> list[Answer]:
    """Return the engine's answers to the prompts of a parity file, in order.

    Raises:
        EngineRefused: If a prompt does not fit.
        Unavailable: If the engine went away.
    """
    places = asyncio.Semaphore(CONCURRENT_MAX)

    async def answer(line: ParityLine) -> Answer:
        async with places:
            # As far as the trainer's answer goes, which ends earlier where a plan's answers do.
            length = len(line.expected.answer_token_ids)
            return await client.answer(engine_model, list(line.messages), length)

    tasks = [asyncio.create_task(answer(line)) for line in lines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()  # Without effect on those that are done.


def read_parity(folder: Path) -> list[ParityLine]:
    """Return the parity lines of a published adapter or whole model; reads all of its bytes.

    Raises:
        Unservable: If its files are incomplete or changed, or prove nothing.
    """
    if read_manifest(folder) is None:
        raise Unservable(f"The files of {folder} are incomplete, or not those that were written.")
    try:
        return read_lines((folder / "parity.jsonl").read_text())
    except (OSError, ValueError) as error:
        raise Unservable(f"The parity file in {folder} cannot be read: {error!r}") from None
    except BadParityFile as error:
        raise Unservable(f"parity.jsonl proves nothing: {error}.") from None


def read_objection(folder: Path) -> str:
    """Return why the engine cannot hold an adapter, or an empty text if it can.

    Raises:
        Unservable: If its configuration cannot be read.
    """
    try:
        return objection_to(json.loads((folder / "adapter_config.json").read_text()))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise Unservable(f"The adapter in {folder} cannot be read: {error!r}") from None
