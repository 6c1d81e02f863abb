"""What can answer, as people name it: an alias, a version, a base model."""

from __future__ import annotations

from attune.serving.v1 import deployment_pb2, model_pb2

from cli.client import Client
from cli.resource_names import PROJECT, base_model_name, short, whole_name
from cli.version_names import find_version, short_version
from services.common.errors import FailedPrecondition, NotFound, Violation, invalid
from services.common.peers import call

BASE_PREFIX = "base:"
COLLECTIONS = ("models", "deployments", "baseModels")


async def find_model(client: Client, text: str) -> str:
    """Return the resource name of what is meant.

    Args:
        client: Of serving.
        text: `base:org/model`; `tickets/2` or `tickets@2`; `tickets`, which is the alias of that
            name or else the newest READY version of that model; or a resource name.

    Raises:
        InvalidArgument: If it is none of these.
        NotFound: If there is no such thing.
    """
    if text.startswith(BASE_PREFIX):
        return base_model_name(text.removeprefix(BASE_PREFIX))
    parts = text.strip("/").split("/")
    if len(parts) > 3 and parts[0] == "projects" and parts[2] in COLLECTIONS:
        return "/".join(parts)
    if len(parts) == 2 and parts[0] == "deployments":
        return whole_name("deployments", text)
    if len(parts) == 1 and "@" not in text:
        return await _alias_or_newest(client, text)
    version = text.replace("@", "/")
    if not version.rsplit("/", 1)[1].isdecimal():
        rule = f"'{text[:200]}' is none. Give ALIAS, MODEL/NUMBER or base:ID"
        hint = f"; did you mean base:{text[:200]}?" if len(parts) == 2 else "."
        raise invalid([Violation("MODEL", "MODEL_NAME", rule + hint)])
    return (await find_version(client, version)).name


async def with_base(client: Client, text: str) -> list[str]:
    """Return the resource names of a tuned model's base and of itself.

    Raises:
        InvalidArgument: As `find_model`.
        NotFound: As `find_model`.
        FailedPrecondition: If it is a base itself, or nothing answers under the alias yet.
    """
    name = await find_model(client, text)
    version = name
    if "/baseModels/" in name:
        raise FailedPrecondition(
            f"{short_model(name)} has no base to compare it with. Name two to four models.",
            reason="ONE_MODEL",
            model=name,
        )
    if "/deployments/" in name:
        request = deployment_pb2.GetDeploymentRequest(name=name)
        found = await call(client.deployments.GetDeployment, request)
        version = found.serving_model_version or found.model_version
    made: model_pb2.ModelVersion = await call(
        client.versions.GetModelVersion, model_pb2.GetModelVersionRequest(name=version)
    )
    return [base_model_name(made.base_model), name]


def short_model(name: str) -> str:
    """Return a resource name as people type it."""
    rest = short(name)
    if rest.startswith("baseModels/"):
        return BASE_PREFIX + rest.removeprefix("baseModels/").replace("~", "/")
    if rest.startswith("deployments/"):
        return rest.removeprefix("deployments/")
    return short_version(name)


async def _alias_or_newest(client: Client, text: str) -> str:
    alias = f"{PROJECT}/deployments/{text}"
    try:
        await call(
            client.deployments.GetDeployment, deployment_pb2.GetDeploymentRequest(name=alias)
        )
    except NotFound:
        pass
    else:
        return alias
    try:
        return (await find_version(client, text)).name
    except NotFound:
        raise NotFound(
            f"'{text}' is neither an alias nor a model with a version that is ready. "
            "`attune deployment list` and `attune model list` show those that there are; a base "
            "model is base:ID, as `attune model bases` lists them.",
            reason="NO_SUCH_MODEL",
            model=text,
        ) from None
