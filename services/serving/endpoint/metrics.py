"""What Prometheus reads: requests, errors, tokens, times and queue."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path
from starlette.types import ASGIApp

from services.serving.endpoint.call import Call
from services.serving.keys.gate import Gate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
MODELS_MAX = 200
"""Versions of models with figures of their own; later ones are counted together."""
OTHER = "other"
LABELS = ("project", "model", "model_version")

Labels = tuple[str, str, str]


class Metrics:
    """An observer of the endpoint's calls. No label comes from a caller but names that exist."""

    def __init__(self, gate: Gate) -> None:
        """Begin at zero.

        Args:
            gate: Says how many requests run and wait.
        """
        self._registry = registry = CollectorRegistry()
        self._known: set[Labels] = set()
        self._requests = Counter(
            "attune_serving_requests",
            "Requests that ended, by HTTP status; 499 when the client went away.",
            (*LABELS, "status"),
            registry=registry,
        )
        self._errors = Counter(
            "attune_serving_errors",
            "Requests that ended with an error, by its code.",
            (*LABELS, "code"),
            registry=registry,
        )
        self._tokens = Counter(
            "attune_serving_tokens",
            "Tokens, by kind: prompt or answer.",
            (*LABELS, "kind"),
            registry=registry,
        )
        self._first_token = Histogram(
            "attune_serving_first_token_seconds",
            "From a request's arrival to the first piece of its stream.",
            LABELS,
            buckets=SECONDS,
            registry=registry,
        )
        self._total = Histogram(
            "attune_serving_request_seconds",
            "From a request's arrival to its end.",
            LABELS,
            buckets=SECONDS,
            registry=registry,
        )
        running = Gauge("attune_serving_requests_running", "Being answered.", registry=registry)
        running.set_function(lambda: gate.running)
        waiting = Gauge("attune_serving_requests_waiting", "In the queue.", registry=registry)
        waiting.set_function(lambda: gate.waiting)
        self.app: ASGIApp = Starlette(routes=[Path("/metrics", self._show, methods=["GET"])])

    def observe(self, call: Call) -> None:
        """Count a request."""
        labels = self._labels(call)
        self._requests.labels(*labels, str(call.status)).inc()
        if call.status >= 400:
            self._errors.labels(*labels, call.code).inc()
        if call.route is None:
            return
        self._tokens.labels(*labels, "prompt").inc(call.prompt_token_count)
        self._tokens.labels(*labels, "answer").inc(call.answer_token_count)
        self._total.labels(*labels).observe(call.total_s)
        if call.first_token_s is not None:
            self._first_token.labels(*labels).observe(call.first_token_s)

    def _labels(self, call: Call) -> Labels:
        labels = (call.project, call.model, call.model_version)
        if labels not in self._known:
            if len(self._known) >= MODELS_MAX:
                return (OTHER, OTHER, OTHER)
            self._known.add(labels)
        return labels

    async def _show(self, _request: Request) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE)
