"""The states of a job and every change between them, as one table; pure."""

from __future__ import annotations

from enum import StrEnum

from services.common.errors import FailedPrecondition


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "QUEUED"
    """Waits for a node."""
    RUNNING = "RUNNING"
    """A trainer holds its lease."""
    CANCELLING = "CANCELLING"
    """Asked to stop; the trainer has not confirmed yet."""
    PAUSING = "PAUSING"
    """Asked to pause; the trainer goes on to its next checkpoint."""
    YIELDING = "YIELDING"
    """Asked to go back to the queue; the trainer goes on to its next checkpoint."""
    PAUSED = "PAUSED"
    """Holds no hardware and does not wait for any, until somebody resumes it."""
    SUCCEEDED = "SUCCEEDED"
    """Final. The adapter and its report exist."""
    FAILED = "FAILED"
    """Final. `error` says why."""
    CANCELLED = "CANCELLED"
    """Final. Stopped on request."""


class Event(StrEnum):
    """What can happen to a job."""

    LEASE = "LEASE"
    """A trainer takes it."""
    RENEW = "RENEW"
    """The trainer keeps it."""
    CANCEL = "CANCEL"
    """A person wants it stopped."""
    ADVANCE = "ADVANCE"
    """The run ended with a result, and another stage begins with it."""
    SUCCEED = "SUCCEED"
    """The run ended with a result."""
    FAIL = "FAIL"
    """The run ended for good, without one."""
    STOP = "STOP"
    """The run ended because it was asked to."""
    PAUSE = "PAUSE"
    """A person wants it to rest, or its project's quota is used up."""
    RESUME = "RESUME"
    """A person wants it to go on."""
    YIELD = "YIELD"
    """It is to make room for another job."""
    HALT = "HALT"
    """The run ended at a checkpoint because it was asked to."""
    ASK = "ASK"
    """The run paused of itself: a person must decide how it goes on."""
    LOSE = "LOSE"
    """The trainer gives it back; another may go on."""
    EXPIRE = "EXPIRE"
    """The trainer was not heard of in time, or started anew."""
    GIVE_UP = "GIVE_UP"
    """It was lost or expired once more than is allowed."""


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.QUEUED, Event.LEASE): State.RUNNING,
    (State.QUEUED, Event.CANCEL): State.CANCELLED,
    (State.RUNNING, Event.RENEW): State.RUNNING,
    (State.RUNNING, Event.CANCEL): State.CANCELLING,
    (State.RUNNING, Event.ADVANCE): State.QUEUED,
    (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.ASK): State.PAUSED,
    (State.RUNNING, Event.LOSE): State.QUEUED,
    (State.RUNNING, Event.EXPIRE): State.QUEUED,
    (State.RUNNING, Event.GIVE_UP): State.FAILED,
    (State.CANCELLING, Event.RENEW): State.CANCELLING,
    (State.CANCELLING, Event.CANCEL): State.CANCELLING,
    # The run was over before it heard that it should stop: what exists is not thrown away.
    (State.CANCELLING, Event.SUCCEED): State.SUCCEEDED,
    # The stage was over before it heard, the chain is not.
    (State.CANCELLING, Event.ADVANCE): State.CANCELLED,
    (State.CANCELLING, Event.FAIL): State.FAILED,
    (State.CANCELLING, Event.STOP): State.CANCELLED,
    (State.CANCELLING, Event.LOSE): State.CANCELLED,
    (State.CANCELLING, Event.EXPIRE): State.CANCELLED,
    # It halted for a pause before it heard that it should stop for good.
    (State.CANCELLING, Event.HALT): State.CANCELLED,
    (State.CANCELLING, Event.ASK): State.CANCELLED,
    (State.CANCELLED, Event.CANCEL): State.CANCELLED,
    (State.QUEUED, Event.PAUSE): State.PAUSED,
    (State.QUEUED, Event.RESUME): State.QUEUED,
    (State.RUNNING, Event.PAUSE): State.PAUSING,
    (State.RUNNING, Event.RESUME): State.RUNNING,
    (State.RUNNING, Event.YIELD): State.YIELDING,
    (State.PAUSED, Event.PAUSE): State.PAUSED,
    (State.PAUSED, Event.RESUME): State.QUEUED,
    (State.PAUSED, Event.CANCEL): State.CANCELLED,
    (State.PAUSING, Event.RENEW): State.PAUSING,
    (State.PAUSING, Event.PAUSE): State.PAUSING,
    # The trainer may have heard already that it should halt; then it is queued again at once.
    (State.PAUSING, Event.RESUME): State.YIELDING,
    (State.PAUSING, Event.CANCEL): State.CANCELLING,
    (State.PAUSING, Event.ADVANCE): State.PAUSED,
    (State.PAUSING, Event.SUCCEED): State.SUCCEEDED,
    (State.PAUSING, Event.FAIL): State.FAILED,
    (State.PAUSING, Event.HALT): State.PAUSED,
    (State.PAUSING, Event.ASK): State.PAUSED,
    (State.PAUSING, Event.LOSE): State.PAUSED,
    (State.PAUSING, Event.EXPIRE): State.PAUSED,
    (State.YIELDING, Event.RENEW): State.YIELDING,
    (State.YIELDING, Event.PAUSE): State.PAUSING,
    (State.YIELDING, Event.RESUME): State.YIELDING,
    (State.YIELDING, Event.YIELD): State.YIELDING,
    (State.YIELDING, Event.CANCEL): State.CANCELLING,
    (State.YIELDING, Event.ADVANCE): State.QUEUED,
    (State.YIELDING, Event.SUCCEED): State.SUCCEEDED,
    (State.YIELDING, Event.FAIL): State.FAILED,
    (State.YIELDING, Event.HALT): State.QUEUED,
    (State.YIELDING, Event.ASK): State.PAUSED,
    (State.YIELDING, Event.LOSE): State.QUEUED,
    (State.YIELDING, Event.EXPIRE): State.QUEUED,
    (State.YIELDING, Event.GIVE_UP): State.FAILED,
}
"""Every legal change; what is not here is refused."""

LEASED = frozenset({State.RUNNING, State.CANCELLING, State.PAUSING, State.YIELDING})
"""States in which a trainer holds a lease."""
HALTING = frozenset({State.PAUSING, State.YIELDING})
"""States in which the trainer is told to halt at its next checkpoint."""
FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
"""States that never change."""

HAPPENED = {
    State.QUEUED: "job.queued",
    State.RUNNING: "job.started",
    State.SUCCEEDED: "job.succeeded",
    State.FAILED: "job.failed",
    State.CANCELLED: "job.cancelled",
    State.PAUSED: "job.paused",
}
"""The event that tells of a job's arrival in a state. Those between two of them are told by where
they lead."""


def next_state(state: State, event: Event, name: str) -> State:
    """Return the state after an event.

    Raises:
        FailedPrecondition: If the event may not happen in that state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise FailedPrecondition(
            f"{name} is {state}; {event} is not possible there. Read the job again.",
            reason="ILLEGAL_TRANSITION",
            job=name,
            state=state,
            event=event,
        ) from None
