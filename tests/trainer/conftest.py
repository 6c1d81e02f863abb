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
from services.trainer.fork_server import ForkServer
from tests.trainer import tiny, tiny_rl


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
