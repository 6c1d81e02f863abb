"""Model versions as people name them."""

from __future__ import annotations

from attune.serving.v1 import model_pb2

from cli.client import Client, all_pages
from cli.resource_names import short, version_name
from services.common.errors import NotFound
from services.common.peers import call


async def find_version(client: Client, text: str) -> model_pb2.ModelVersion:
    """Return the version that is meant; of a model without a number, the newest READY one.

    Raises:
        NotFound: If there is none.
    """
    parent, number = version_name(text)
    if number:
        request = model_pb2.GetModelVersionRequest(name=f"{parent}/versions/{number}")
        found: model_pb2.ModelVersion = await call(client.versions.GetModelVersion, request)
        return found
    listing = model_pb2.ListModelVersionsRequest(parent=parent)
    for one in (await all_pages(client.versions.ListModelVersions, listing)).model_versions:
        if one.state == model_pb2.ModelVersion.STATE_READY:
            return one  # type: ignore[no-any-return]
    raise NotFound(
        f"{short(parent)} has no version that is ready. `attune model list` shows all.",
        reason="NO_READY_VERSION",
        model=parent,
    )


def short_version(name: str) -> str:
    """Return a version's name as `model/number`."""
    return short(name).removeprefix("models/").replace("/versions/", "/")
