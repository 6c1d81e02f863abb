"""Fields of requests that decide about a deployment: who and why, and what is to change."""

from __future__ import annotations

import re

from attune.serving.v1 import deployment_pb2 as pb

from services.common.errors import Violation, invalid
from services.serving.deployments.deployment import Decision

AUTHOR_MAX = 200
REASON_MAX = 1000
OVERRIDE_MIN = 10
MASK = re.compile(r"model_version|canary")


def read_decision(message: pb.Decision) -> Decision:
    """Return who decides and why.

    Raises:
        InvalidArgument: If a text breaks its rule.
    """
    violations = []
    override = message.override_reason.strip()
    for field, text, most in (
        ("author", message.author, AUTHOR_MAX),
        ("reason", message.reason, REASON_MAX),
        ("override_reason", override, REASON_MAX),
    ):
        if len(text) > most:
            said = f"{len(text):,} characters; at most {most:,}. Say it shorter."
            violations.append(Violation(f"decision.{field}", "LENGTH", said))
    if override and len(override) < OVERRIDE_MIN:
        said = (
            f"'{override}' has under {OVERRIDE_MIN} characters. Say why, for those who ask later."
        )
        violations.append(Violation("decision.override_reason", "LENGTH", said))
    if violations:
        raise invalid(violations)
    return Decision(message.author, message.reason, override)


def read_path(paths: list[str]) -> str:
    """Return the one path of an update mask.

    Raises:
        InvalidArgument: If it is not `model_version` or `canary`.
    """
    if len(paths) != 1 or not MASK.fullmatch(paths[0]):
        shown = ", ".join(paths)[:200]
        text = f"'{shown}' cannot be updated. The mask must be 'model_version' or 'canary'."
        raise invalid([Violation("update_mask", "MASK", text)])
    return paths[0]
