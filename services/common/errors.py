"""The errors that cross service borders; pure Python, no gRPC.

Raise the class that fits; `rpc` alone turns it into a status. A message says what is wrong, with
the value, and what to do. Every value in the message is in `metadata` too.
"""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Violation:
    """One broken rule of one field."""

    field: str
    """Path of the field, such as `stages.0.hyperparameters.learning_rate` or `line 7: messages`."""
    rule: str
    """Short name of the rule, UPPER_SNAKE."""
    message: str
    """The value, the rule and the remedy, in one or two sentences."""


class ServiceError(Exception):
    """An error that a caller can act on; its class decides the gRPC status code."""

    code = "INTERNAL"

    def __init__(self, message: str, *, reason: str, **metadata: str) -> None:
        """Keep what a status needs.

        Args:
            message: What is wrong, the value, the remedy.
            reason: UPPER_SNAKE, unique within the service.
            **metadata: Every value that the message shows.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = metadata

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process makes it again: not by calling the class with its text."""
        return copyreg.__newobj__, (type(self), self.message), self.__dict__  # type: ignore[attr-defined]


class InvalidArgument(ServiceError):
    """The request breaks a rule, whatever the state of the system."""

    code = "INVALID_ARGUMENT"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "INVALID_FIELDS",
        violations: Sequence[Violation] = (),
        **metadata: str,
    ) -> None:
        """Keep the violations beside what every error keeps; all of them, not only the first."""
        super().__init__(message, reason=reason, **metadata)
        self.violations = tuple(violations)


class NotFound(ServiceError):
    """The named thing does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(ServiceError):
    """The name is taken."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(ServiceError):
    """The system is not in the state that the request needs."""

    code = "FAILED_PRECONDITION"


class Conflict(ServiceError):
    """Somebody else changed it in between; read again and decide anew."""

    code = "ABORTED"


class ResourceExhausted(ServiceError):
    """A named bound is reached."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(ServiceError):
    """Not now; the same request may succeed later."""

    code = "UNAVAILABLE"

    def __init__(
        self, message: str, *, reason: str, retry_after_s: float = 1.0, **metadata: str
    ) -> None:
        """Keep the advice when to try again, in seconds."""
        super().__init__(message, reason=reason, **metadata)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(ServiceError):
    """It took longer than the caller would wait."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(ServiceError):
    """The caller went away."""

    code = "CANCELLED"


class Internal(ServiceError):
    """A fault of ours; the log knows more than the caller may."""

    code = "INTERNAL"


def invalid(violations: Sequence[Violation]) -> InvalidArgument:
    """Return the error that names every violation; there must be at least one."""
    first = violations[0]
    more = f" ({len(violations) - 1} more)" if len(violations) > 1 else ""
    message = f"{first.field}: {first.message}{more}"
    return InvalidArgument(message, violations=violations, field=first.field, rule=first.rule)
