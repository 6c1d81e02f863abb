"""Starts whole runs of the tiny model in processes of a fork server."""

import asyncio
from pathlib import Path

from attune.spec.v1.stage_pb2 import Method

from services.trainer.attempt import LOG, MESSAGES, Attempt
from services.trainer.models.base_models import find_local
from services.trainer.run import ExitCode
from tests.trainer import tiny

TIMEOUT_S = 120.0


class Runs:
    """Starts attempts at runs under one root."""

    def __init__(self, root: Path, forks, artefacts, revision: str) -> None:
        self.root, self.forks, self.artefacts, self.revision = root, forks, artefacts, revision

    def spec(self, method: int = Method.METHOD_LORA, content=None, model="", **changes):
        train = tiny.put_rows(self.artefacts, content or tiny.rows(72))
        holdout = tiny.put_rows(self.artefacts, (content or tiny.rows(10))[:10])
        spec = tiny.a_spec(self.revision, train, holdout, **changes)
        spec.stages[0].method = method
        if method == Method.METHOD_FULL:
            spec.stages[0].hyperparameters.ClearField("lora")
        if model:
            shape, folder = find_local(self.artefacts, model)
            spec.base_model.id, spec.base_model.revision = shape.id, folder.name
        return tiny.approved(spec)

    async def start(self, spec, fence: int = 1, job: str = "j1"):
        manifest = tiny.a_manifest(self.root, spec, fence, job=job)
        attempt = Attempt.create(self.artefacts.attempt(manifest.run_id, fence), manifest)
        return attempt, await self.forks.start_run(attempt.folder)

    async def finish(self, spec, fence: int = 1, job: str = "j1"):
        attempt, run = await self.start(spec, fence, job)
        code = await asyncio.wait_for(run.wait(), TIMEOUT_S)
        assert code == ExitCode.SUCCEEDED, (attempt.error(), (attempt.folder / LOG).read_text())
        return attempt

    async def merge(self, adapter_sha256: str):
        return await self.forks.once(
            "services.trainer.models.merge", "merge_adapter", self.artefacts.root, adapter_sha256
        )


def messages(attempt: Attempt) -> str:
    return "\n".join(line["text"] for line in attempt.lines(MESSAGES, 0)[0])
