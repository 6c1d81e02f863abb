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
from services.common.errors import Conflict, ResourceExhausted, Unavailable
from services.serving.adapter import objection_to
from services.serving.adapters import Adapters
from services.serving.engine import Engine
from services.serving.engine_client import ENGINE_AWAY, EngineClient, EngineRefused
from services.serving.parity import Answer, BadParityFile, ParityLine, compare, read_lines
from services.serving.version import Version, judge, reject
from services.serving.version_store import VersionStore

log = logging.getLogger(__name__)

IDLE_S = 30.0
"""Between two looks at the registry; a commit causes one at once."""
RETRY_S = 2.0
CONCURRENT_MAX = 8
"""Prompts that the engine answers at once; it makes the tokens of all in one step."""
BASE_ID_DIGITS = 12
"""Of a whole model's hash in its id as a base model, as the trainer names it."""
DEATHS_MAX = 5
"""Proofs that the engine did not survive, after which the adapter is to blame."""


class Unservable(Exception):
    """An adapter that cannot be compared at all; the text says why."""


class Proofs:
    """Takes one STAGED version after the other to READY or REJECTED."""

    def __init__(
        self,
        database: Database,
        versions: VersionStore,
        adapters: Adapters,
        engine: Engine,
        artefacts: Artefacts,
        clock: Clock,
    ) -> None:
        """Keep what a proof needs."""
        self._versions = versions
        self._adapters = adapters
        self._engine = engine
        self._artefacts = artefacts
        self._clock = clock
        self._deaths: Counter[str] = Counter()
        self._wake = asyncio.Event()
        database.on_commit(self._wake.set)

    async def run(self) -> None:
        """Prove whatever is STAGED, for ever."""
        while True:
            await self._engine.wait_until_ready()
            self._wake.clear()
            try:
                await self._prove_staged()
            except (Unavailable, ResourceExhausted) as error:
                log.warning("a proof must be repeated: %s", error.message)
                await asyncio.sleep(RETRY_S)
                continue
            except Exception:
                log.exception("a proof failed")  # Its version stays STAGED; the loop must go on.
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), IDLE_S)
            except TimeoutError:
                continue

    async def _prove_staged(self) -> None:
        staged = await self._versions.list_staged(self._engine.model_id, self._engine.revision)
        for version in staged:
            settled = await self._prove(version)
            try:
                await self._versions.settle(settled)
            except Conflict:
                log.info("%s was settled elsewhere", version.name)
            else:
                log.info("%s is %s: %s", settled.name, settled.state, settled.state_reason)

    async def _prove(self, version: Version) -> Version:
        """Return the version after its proof.

        Raises:
            Unavailable: If the engine went away in the middle of it.
            ResourceExhausted: If the engine has no place for it now.
        """
        folder = self._artefacts.adapter(version.adapter_sha256)
        try:
            _refuse_whole(version)
            lines = await asyncio.to_thread(inspect_adapter, folder)
            async with self._adapters.hold(version.adapter_sha256) as client:
                answers = await answer_all(client, version.adapter_sha256, lines)
        except Unservable as error:
            return reject(version, str(error), self._clock.now())
        except EngineRefused as error:
            reason = f"The engine refuses the adapter: {error.message}"
            return reject(version, reason, self._clock.now())
        except Unavailable as error:
            self._deaths[version.id] += error.reason == ENGINE_AWAY
            if self._deaths[version.id] < DEATHS_MAX:
                raise
            reason = f"The engine did not survive {DEATHS_MAX} attempts to prove this adapter."
            return reject(version, reason, self._clock.now())
        pairs = [(line.expected, answer) for line, answer in zip(lines, answers, strict=True)]
        return judge(version, compare(pairs, version.parity_tolerance), self._clock.now())


async def answer_all(
    client: EngineClient, adapter_sha256: str, lines: Sequence[ParityLine]
) -> list[Answer]:
    """Return the engine's answers to the prompts of a parity file, in order.

    Raises:
        EngineRefused: If a prompt does not fit.
        Unavailable: If the engine went away.
    """
    places = asyncio.Semaphore(CONCURRENT_MAX)

    async def answer(line: ParityLine) -> Answer:
        async with places:
            return await client.answer(adapter_sha256, list(line.messages))

    tasks = [asyncio.create_task(answer(line)) for line in lines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()  # Without effect on those that are done.


def _refuse_whole(version: Version) -> None:
    """Refuse a version that is no adapter.

    Raises:
        Unservable: If so, with how it can be served all the same.
    """
    if version.merged_sha256:
        base = f"merged/{version.merged_sha256[:BASE_ID_DIGITS]}"
        raise Unservable(
            "All weights were trained, and this engine holds its base model with adapters beside "
            f"it. Serve the whole model as a base: set ATTUNE_SERVING_BASE_MODEL={base} and "
            "restart serving; or train an adapter (METHOD_LORA) in a new plan."
        )


def inspect_adapter(folder: Path) -> list[ParityLine]:
    """Return the parity lines of an adapter that the engine can hold; reads all of its bytes.

    Raises:
        Unservable: If its files are incomplete or changed, or it is of another kind.
    """
    if read_manifest(folder) is None:
        raise Unservable(f"The files of {folder} are incomplete, or not those that were written.")
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        objection = objection_to(config)
        text = (folder / "parity.jsonl").read_text()
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise Unservable(f"The adapter in {folder} cannot be read: {error!r}") from None
    if objection:
        raise Unservable(
            f"The engine cannot hold this adapter: {objection}. `attune model merge` makes it and "
            "its base one model, which can be served as a base."
        )
    try:
        return read_lines(text)
    except BadParityFile as error:
        raise Unservable(f"parity.jsonl proves nothing: {error}.") from None
