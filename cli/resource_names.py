"""Short names, as people type them: `abc`, `specs/abc` or the whole name."""

from __future__ import annotations

from services.common.errors import InvalidArgument, Violation, invalid

PROJECT = "projects/default"


def whole_name(collection: str, text: str) -> str:
    """Return the name of a resource of the default project.

    Args:
        collection: Such as `specs`.
        text: `abc`, `specs/abc`, or a whole name, which stays as it is.

    Raises:
        InvalidArgument: If it names something else.
    """
    parts = text.strip("/").split("/")
    if len(parts) == 4 and parts[0] == "projects" and parts[2] == collection:
        return "/".join(parts)
    if len(parts) == 2 and parts[0] == collection:
        return f"{PROJECT}/{collection}/{parts[1]}"
    if len(parts) == 1 and parts[0]:
        return f"{PROJECT}/{collection}/{parts[0]}"
    raise _unknown(text, f"{collection}/ID or ID")


def version_name(text: str) -> tuple[str, str]:
    """Return the model and the version that are meant; no version means the newest.

    Args:
        text: `tickets`, `tickets/2`, `models/tickets/versions/2`, or a whole name.

    Returns:
        Name of the model, and the version's number as text or an empty one.

    Raises:
        InvalidArgument: If it names something else.
    """
    parts = text.strip("/").split("/")
    project = PROJECT
    if len(parts) > 2 and parts[0] == "projects":
        project, parts = "/".join(parts[:2]), parts[2:]
    if parts[0] == "models" and len(parts) > 1:
        parts = parts[1:]
    if len(parts) == 3 and parts[1] == "versions":
        parts = [parts[0], parts[2]]
    if len(parts) == 1 and parts[0]:
        return f"{project}/models/{parts[0]}", ""
    if len(parts) == 2 and parts[1].isdecimal():
        return f"{project}/models/{parts[0]}", parts[1]
    raise _unknown(text, "MODEL, MODEL/NUMBER or models/MODEL/versions/NUMBER")


def base_model_name(model_id: str) -> str:
    """Return the name under which the playground knows a base model."""
    return f"{PROJECT}/baseModels/{model_id.replace('/', '~')}"


def short(name: str) -> str:
    """Return a name without the default project, as the commands take it."""
    return name.removeprefix(f"{PROJECT}/")


def _unknown(text: str, form: str) -> InvalidArgument:
    return invalid([Violation("NAME", "RESOURCE_NAME", f"'{text[:200]}' is none. Give {form}.")])
