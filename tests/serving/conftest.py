"""A running serving on the test engine."""

import pytest

from tests.serving.parts import Parts, a_base_model, endpoint, grpc_services, running


@pytest.fixture
async def parts(tmp_path):
    """Everything but servers, on a running test engine."""
    made = Parts(tmp_path)
    a_base_model(made.artefacts)
    async with running(made):
        await made.at_generation(1)
        yield made


@pytest.fixture
async def stubs(parts):
    """Stubs of ModelService, PlaygroundService and DeploymentService."""
    async with grpc_services(parts) as opened:
        yield opened


@pytest.fixture
async def base_url(parts):
    """Base URL of the OpenAI-compatible endpoint."""
    async with endpoint(parts) as url:
        parts.deployments.endpoint = url
        yield url
