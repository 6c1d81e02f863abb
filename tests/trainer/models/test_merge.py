"""An adapter becomes a whole model, and that a base which the next training begins from."""

import asyncio
import json
from pathlib import Path

import pytest
from attune.trainer.v1 import trainer_pb2

from services.common import peers
from services.common.artefacts import Artefacts, read_manifest
from services.common.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from services.trainer import fork_server
from services.trainer.models.base_models import list_local
from services.trainer.run import Phase
from tests.trainer import tiny
from tests.trainer.runs import Runs
from tests.trainer.test_servicer import serving

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("merge")


@pytest.fixture
def runs(root: Path, forks, saved_model) -> Runs:
    """Runs that share their artefacts with the other tests of this file."""
    artefacts = Artefacts(root / "artefacts")
    found = [shape.revision for shape in list_local(artefacts) if shape.id == tiny.MODEL]
    # Of its own: a lock belongs to the event loop of one test.
    return Runs(
        root,
        fork_server.ForkServer(),
        artefacts,
        found[0] if found else tiny.put_model(artefacts, saved_model),
    )


@pytest.fixture
async def first(runs: Runs):
    """The attempt that made the adapter; trained by the first test that asks."""
    from services.trainer.attempt import Attempt

    attempt = Attempt(runs.artefacts.attempt("j1-s0", 1))
    if attempt.result(Phase.REGISTER) is None:
        attempt = await runs.finish(runs.spec(epoch_count=4.0, learning_rate=1e-2))
    return attempt


async def test_an_adapter_is_merged_once_by_whoever_asks(runs, first):
    adapter_sha256 = first.result(Phase.REGISTER)["adapter_sha256"]
    request = trainer_pb2.MergeAdapterRequest(adapter_sha256=adapter_sha256)
    async with serving(runs.artefacts, runs.forks) as (trainer, _):
        made, again = await asyncio.gather(
            *(peers.call(trainer.MergeAdapter, request, timeout_s=100) for _ in range(2))
        )
    assert made == again
    folder = runs.artefacts.merged(made.merged_sha256)
    assert read_manifest(folder)["adapter_sha256"] == adapter_sha256
    assert [path.name for path in folder.parent.iterdir()] == [made.merged_sha256]
    assert made.base_model in [shape.id for shape in list_local(runs.artefacts)]
    assert made.base_model_revision == made.merged_sha256
    # Adapter and merged model say the same.
    before, after = (
        [json.loads(line) for line in (one / "parity.jsonl").read_text().splitlines()]
        for one in (runs.artefacts.adapter(adapter_sha256), folder)
    )
    assert [line["answer_token_ids"] for line in before] == [
        line["answer_token_ids"] for line in after
    ]
    for one, other in zip(before, after, strict=True):
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)


async def test_a_merged_model_is_trained_again(runs, first):
    made = await runs.merge(first.result(Phase.REGISTER)["adapter_sha256"])
    second = await runs.finish(runs.spec(model=made["base_model"]), job="j2")
    reached, begun = (attempt.result(Phase.EVALUATE)["report"] for attempt in (first, second))
    # What the first training reached is where the second one began.
    assert begun["base_score"] == pytest.approx(reached["tuned_score"])
    assert reached["tuned_score"] > reached["base_score"]
    facts = read_manifest(runs.artefacts.adapter(second.result(Phase.REGISTER)["adapter_sha256"]))
    assert facts["base_model"] == made["base_model"]
    assert facts["base_model_revision"] == made["merged_sha256"]


async def test_what_cannot_be_merged_is_refused_with_the_reason(runs, first, monkeypatch):
    async with serving(runs.artefacts, runs.forks) as (trainer, _):
        for digest, error in (("a" * 64, NotFound), ("../x", InvalidArgument)):
            with pytest.raises(error):
                request = trainer_pb2.MergeAdapterRequest(adapter_sha256=digest)
                await peers.call(trainer.MergeAdapter, request, timeout_s=100)
    from services.trainer.models import merge

    adapter_sha256 = first.result(Phase.REGISTER)["adapter_sha256"]
    monkeypatch.setattr(merge, "find_merged", lambda *_: "")
    monkeypatch.setattr(merge, "SPARE_BYTES", 2**60)
    with pytest.raises(FailedPrecondition, match="MiB are free"):
        merge.merge_adapter(runs.artefacts.root, adapter_sha256)
    assert not list(runs.artefacts.merged("").glob(".*.tmp"))
    broken = runs.artefacts.adapter("b" * 64)
    broken.mkdir()
    with pytest.raises(FailedPrecondition, match="are not those of its manifest"):
        await runs.merge("b" * 64)


async def test_no_more_work_waits_than_the_bound(runs, monkeypatch):
    forks = runs.forks
    monkeypatch.setattr(fork_server, "WORKS_MAX", 1)
    slow = asyncio.create_task(forks.once("time", "sleep", 0.5))
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted, match="1 calls wait"):
        await forks.once("os", "getpid")
    slow.cancel()  # The work itself goes on, and the next one after it.
    monkeypatch.setattr(fork_server, "WORKS_MAX", 2)
    assert await forks.once("os", "getppid") > 0
