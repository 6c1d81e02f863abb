import os

# Before torch is imported anywhere: two OpenMP threads on two busy cores are 10 times slower.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TRANSFORMERS_VERBOSITY="error",
    MLFLOW_DISABLE_TELEMETRY="true",
    CUDA_VISIBLE_DEVICES="",
)

from pathlib import Path

import pytest

from services.common.artefacts import Artefacts
from services.trainer.attempt import LOG, Attempt
from services.trainer.fork_server import ForkServer
from services.trainer.run import ExitCode
from tests.trainer import tiny, tiny_rl
from tests.trainer.short_runs import ShortRuns


@pytest.fixture(scope="session")
def forks() -> ForkServer:
    """One fork server for all tests: its imports take seconds."""
    server = ForkServer()
    server.warm()
    return server


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny.save_model(folder)
    return folder


@pytest.fixture(scope="session")
def two_way_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that can answer in two ways, for rewards to choose between."""
    folder = tmp_path_factory.mktemp("two-way")
    tiny_rl.save_model(folder)
    return folder


@pytest.fixture
def artefacts(tmp_path: Path) -> Artefacts:
    return Artefacts(tmp_path / "artefacts")


@pytest.fixture
def revision(artefacts: Artefacts, saved_model: Path) -> str:
    return tiny.put_model(artefacts, saved_model)


@pytest.fixture(scope="module")
def short_runs(
    tmp_path_factory: pytest.TempPathFactory, forks: ForkServer, saved_model: Path
) -> ShortRuns:
    return ShortRuns(tmp_path_factory.mktemp("short"), saved_model)


@pytest.fixture(scope="module")
def whole_run(short_runs: ShortRuns) -> Attempt:
    """A short run that nothing happened to."""
    attempt, code = short_runs.finish("whole", 1)
    assert code == ExitCode.SUCCEEDED, (attempt.folder / LOG).read_text()
    return attempt
