"""What serves a deployment: the interface that every target implements."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from services.serving.deployments.deployment import Deployment
from services.serving.engines.engine_client import Body
from services.serving.engines.weights import Weights
from services.serving.registry.version import Version

OTHER_IS_HERE = "The other one runs here, and nothing is billed for it."


@dataclass(frozen=True)
class Offer:
    """What a target means for one version, in words that a person decides by."""

    target: str
    title: str
    description: str
    cost: str
    hour_cost_micro_usd: int | None
    """Expected, in millionths of a US dollar; None when unknown."""
    latency: str
    limits: tuple[str, ...]
    objection: str
    """Why it cannot serve the version at present; empty when it can."""
    is_outside: bool = False
    """Whether it computes outside of this installation."""


@dataclass(frozen=True)
class Recommendation:
    """What a target means, and whether it is the better one."""

    offer: Offer
    is_best: bool
    reason: str


def recommend(offers: Sequence[Offer], planned: str) -> list[Recommendation]:
    """Return two offers with the one to take first: the planned one, else the cheapest that can.

    Where the operator configured a target outside, it stands beside the better one of ours.

    Args:
        offers: In the order of the installation, which decides between equals.
        planned: Target that the plan asks for; without effect where no offer of it can.
    """
    inside = [one for one in offers if not one.is_outside]
    outside = [one for one in offers if one.is_outside]
    if outside and len(inside) > 1:
        return recommend([recommend(inside, planned)[0].offer, *outside], planned)
    able = [one for one in offers if not one.objection]
    wanted = [one for one in able if one.target == planned]
    best = min(wanted or able, key=_hour_cost, default=None)
    reason = _planned_reason if wanted else _reason
    found = [Recommendation(one, one is best, reason(one, best, able)) for one in offers]
    return sorted(found, key=lambda one: not one.is_best)


def _planned_reason(offer: Offer, best: Offer | None, able: Sequence[Offer]) -> str:
    if offer not in able:
        return offer.objection
    return "The plan asks for it." if offer is best else "The plan asks for the other one."


def _reason(offer: Offer, best: Offer | None, able: Sequence[Offer]) -> str:
    if offer.objection:
        return offer.objection
    if len(able) == 1:
        return "It is the only one that can serve this version now."
    if best is not None and best.hour_cost_micro_usd is None:
        return "It runs here: nothing is billed for it." if offer is best else OTHER_IS_HERE
    if offer is best:
        return "Of what is known, it costs least."
    if offer.hour_cost_micro_usd is None:
        return "What it costs is not known here."
    return "The other one serves this version for less, or for the same."


def _hour_cost(offer: Offer) -> float:
    """Return what offers are compared by; what is not billed stands before what may be."""
    if offer.hour_cost_micro_usd is not None:
        return offer.hour_cost_micro_usd
    return math.inf if offer.is_outside else 0


@dataclass(frozen=True)
class Progress:
    """How far a target is with what was decided."""

    is_done: bool
    message: str = ""
    """How far it is, or what it waits for, in words."""
    external_name: str = ""
    """Of what it made outside of Attune."""


class TargetFailed(Exception):
    """A target cannot do what was decided, now or later; the text says why and what to do."""


class Client(Protocol):
    """Asks what answers, on OpenAI's routes; an engine's client is one."""

    async def ask(self, path: str, body: Body, *, timeout_s: float) -> Body:
        """Return the whole answer to a completion.

        Raises:
            EngineRefused: If the model says no.
            Unavailable: If it cannot be reached or takes too long.
        """

    def stream(
        self, path: str, body: Body
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Body]]]:
        """Open a streamed completion and yield its chunks, those together that came together.

        Leaving the block cancels the rest.

        Raises:
            EngineRefused: On entry if the model says no; in the stream if it fails half-way.
            Unavailable: If it cannot be reached, or ends before the answer does.
        """


class Target(Protocol):
    """One way to serve versions. Its methods may be called again whatever happened before."""

    name: str
    """What requests call it."""
    has_canary: bool
    """Whether it can serve two versions of one deployment."""

    async def offer(self, version: Version) -> Offer:
        """Return what it means for a version."""

    def check(self, version: Version, others: Sequence[tuple[Deployment, Version]]) -> None:
        """Refuse a version that it can never serve, or has no room for.

        Args:
            version: To be served.
            others: What else is deployed to this target.

        Raises:
            FailedPrecondition: If it cannot hold such a version.
            ResourceExhausted: If it has no room.
        """

    async def prepare(self, version: Version) -> bool:
        """Try to hold a version before it is switched to, and return whether it does.

        Raises:
            TargetFailed: If it turns out that it cannot.
            Unavailable: If nothing answers now.
            ResourceExhausted: If it has no room.
        """

    async def reconcile(self, deployment: Deployment, versions: Sequence[Version]) -> Progress:
        """Bring the target nearer to what was decided, and return how far it is.

        Args:
            deployment: With what was decided.
            versions: The version, then its canary if it has one.

        Raises:
            TargetFailed: If it cannot be done.
            ServiceError: If it must be tried again later.
        """

    async def withdraw(self, deployment: Deployment) -> bool:
        """Give back what is held for a deployment, and return whether nothing is left.

        Raises:
            TargetFailed: If somebody must do something first; it is tried again all the same.
            ServiceError: If it must be tried again later.
        """

    def weights(self, version: Version) -> Weights | None:
        """Return what an engine of ours must hold to answer; None where others answer, or none."""

    def client(self, deployment: Deployment, version: Version) -> Client | None:
        """Return what asks a version that is served outside; None where engines of ours answer."""
