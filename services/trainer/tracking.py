"""MLflow: one run per attempt, written for people to read; the only importer of mlflow.

A thread of its own mirrors what the attempt's files say. MLflow being away, slow or broken delays
nothing and stops nothing.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from services.common.artefacts import Artefacts
from services.trainer.attempt import (
    METRICS,
    PAGE_HTML,
    PAGE_MARKDOWN,
    SAMPLES,
    Attempt,
    find_page,
)
from services.trainer.run import Manifest, Phase

log = logging.getLogger(__name__)

EXPERIMENT = "attune"
MIRROR_S = 2.0
"""Time between two looks at the metrics of a run under way."""
REQUEST_TIMEOUT_S = 5
CLOSE_TIMEOUT_S = 10.0
"""Time that the last writes have when the service stops."""
BATCH_MAX = 1000
"""Metrics in one request, MLflow's own limit."""
QUEUE_MAX = 1000
PARAM_MAX = 6000
"""Characters of a parameter, MLflow's own limit."""
WEIGHTS = ".safetensors"
STATUSES = {
    "SUCCEEDED": "FINISHED",
    "FAILED": "FAILED",
    "CANCELLED": "KILLED",
    "PAUSED": "KILLED",
    "LOST": "FAILED",
    "OUT_OF_MEMORY": "FAILED",
}


class _Mirror:
    """One attempt on its way to MLflow."""

    def __init__(self, attempt: Attempt, manifest: Manifest) -> None:
        self.attempt = attempt
        self.manifest = manifest
        known = attempt.tracking() or {}
        self.run_id = str(known.get("run", ""))
        self.uri = str(known.get("uri", ""))
        self.offset = 0


class Tracker:
    """Mirrors attempts to MLflow."""

    def __init__(self, url: str) -> None:
        """Start the thread.

        Args:
            url: Of the MLflow server, such as `http://127.0.0.1:7150`.
        """
        self._url = url.rstrip("/")
        self._mirrors: dict[str, _Mirror] = {}
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUE_MAX)
        self._client: Any = None
        self._warned = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def begin(self, attempt: Attempt) -> None:
        """Mirror an attempt from now on."""
        manifest = attempt.manifest()
        if manifest is not None:
            mirror = self._mirrors[str(attempt.folder)] = _Mirror(attempt, manifest)
            self._put(lambda: self._try(mirror, self._mirror))

    def end(self, attempt: Attempt) -> None:
        """Write the rest of an attempt whose outcome is known, and close its run.

        Of an attempt that was never mirrored, because MLflow was away, everything is written.
        """
        manifest = attempt.manifest()
        mirror = self._mirrors.pop(str(attempt.folder), None)
        if mirror is None and manifest is not None:
            mirror = _Mirror(attempt, manifest)
        if mirror is not None:
            last = mirror
            self._put(lambda: self._try(last, self._finish))

    def close(self) -> None:
        """Wait a moment for the last writes."""
        self._put(None)
        self._thread.join(CLOSE_TIMEOUT_S)

    def _put(self, job: Callable[[], None] | None) -> None:
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            log.warning("MLflow lags too far behind; a run is not mirrored")

    def _work(self) -> None:
        while True:
            try:
                job = self._queue.get(timeout=MIRROR_S)
            except queue.Empty:
                for mirror in list(self._mirrors.values()):
                    self._try(mirror, self._mirror)
                continue
            if job is None:
                return
            job()

    def _try(self, mirror: _Mirror, act: Callable[[_Mirror], None]) -> None:
        try:
            self._connect()
            act(mirror)
            self._warned = False
        except Exception as error:  # Whatever the client raises, the run must not notice.
            if not self._warned:
                self._warned = True
                first = (str(error) or type(error).__name__).splitlines()[0]
                log.warning("MLflow at %s: %s", self._url, first[:300])

    def _connect(self) -> None:
        if self._client is None:
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(REQUEST_TIMEOUT_S)
            os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
            # Takes seconds, and only this thread needs it.
            mlflow = importlib.import_module("mlflow")
            self._client = mlflow.MlflowClient(tracking_uri=self._url, registry_uri=self._url)

    def _mirror(self, mirror: _Mirror) -> None:
        if not mirror.run_id:
            self._create(mirror)
        lines, offset = mirror.attempt.lines(METRICS, mirror.offset)
        metrics = _metrics(lines)
        for start in range(0, len(metrics), BATCH_MAX):
            self._client.log_batch(mirror.run_id, metrics=metrics[start : start + BATCH_MAX])
        mirror.offset = offset

    def _create(self, mirror: _Mirror) -> None:
        manifest = mirror.manifest
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        tags = {
            "attune.spec_hash": manifest.spec_hash,
            "attune.job": manifest.job,
            "attune.run": manifest.run,
            "attune.attempt": str(manifest.fence),
            "attune.node": manifest.node,
        }
        title = manifest.spec.get("display_name") or manifest.run_id
        name = f"{title} #{manifest.fence}"
        run = self._client.create_run(experiment, tags=tags, run_name=name)
        mirror.run_id = run.info.run_id
        mirror.uri = f"{self._url}/#/experiments/{experiment}/runs/{mirror.run_id}"
        mirror.attempt.write_tracking(mirror.run_id, mirror.uri, closed=False)
        entities = importlib.import_module("mlflow.entities")
        params = [entities.Param(key, value) for key, value in _params(manifest)]
        self._client.log_batch(mirror.run_id, params=params)

    def _finish(self, mirror: _Mirror) -> None:
        self._mirror(mirror)
        attempt, client = mirror.attempt, self._client
        outcome = attempt.outcome() or "LOST"
        tuned, registered = attempt.result(Phase.EVALUATE), attempt.result(Phase.REGISTER)
        try:
            if tuned is not None:
                self._log_evaluation(mirror, tuned["report"])
            if outcome == "SUCCEEDED" and registered is not None:
                self._log_result(mirror, registered)
            if (error := attempt.error()) is not None:
                client.set_tag(
                    mirror.run_id, "attune.error", f"{error['reason']}: {error['message']}"
                )
        finally:
            client.set_terminated(mirror.run_id, STATUSES[outcome])
        attempt.write_tracking(mirror.run_id, mirror.uri, closed=True)

    def _log_evaluation(self, mirror: _Mirror, report: dict[str, Any]) -> None:
        client, run_id = self._client, mirror.run_id
        for name, value in report.items():
            if isinstance(value, int | float):
                client.log_metric(run_id, name, float(value))
        client.log_text(run_id, json.dumps(report, indent=1), "report.json")
        page = find_page(mirror.attempt.folder.parent, mirror.manifest.fence)
        if page is not None:
            for name in (PAGE_MARKDOWN, PAGE_HTML):
                client.log_artifact(run_id, str(page.folder / name))
        rows, _ = mirror.attempt.lines(SAMPLES, 0)
        if rows:
            columns = [name for name in rows[0] if name != "time"]
            table = {"columns": columns, "data": [[row[name] for name in columns] for row in rows]}
            client.log_dict(run_id, table, "evaluation.json")

    def _log_result(self, mirror: _Mirror, registered: dict[str, Any]) -> None:
        client, manifest = self._client, mirror.manifest
        artefacts = Artefacts(mirror.attempt.folder.parents[2])
        if merged_sha256 := registered.get("merged_sha256", ""):
            kind, tag, digest = "model", "attune.merged_sha256", merged_sha256
            for path in sorted(artefacts.merged(digest).iterdir()):
                if path.suffix != WEIGHTS:  # A whole model has one copy, under the artefact root.
                    client.log_artifact(mirror.run_id, str(path), kind)
        else:
            kind, tag, digest = "adapter", "attune.adapter_sha256", registered["adapter_sha256"]
            client.log_artifacts(mirror.run_id, str(artefacts.adapter(digest)), kind)
        name = _model_name(manifest)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        if client.search_model_versions(f"run_id = '{mirror.run_id}'"):
            return  # An earlier try got so far.
        uri = client.get_run(mirror.run_id).info.artifact_uri
        tags = {tag: digest, "attune.spec_hash": manifest.spec_hash}
        client.create_model_version(name, f"{uri}/{kind}", mirror.run_id, tags=tags)


def _metrics(lines: Sequence[dict[str, Any]]) -> list[Any]:
    entities = importlib.import_module("mlflow.entities")
    return [
        entities.Metric(name, value, int(_seconds(line["time"]) * 1000), line["step"])
        for line in lines
        for name, value in line["values"].items()
    ]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _params(manifest: Manifest) -> list[tuple[str, str]]:
    spec = manifest.spec
    stage = spec["stages"][manifest.stage_index]
    values = {
        "technique": stage["technique"],
        "method": stage["method"],
        "base_model": spec["base_model"],
        "data": {key: spec["data"].get(key) for key in ("dataset_sha256", "holdout_sha256")},
        "parallel_plan": manifest.placement.get("parallel_plan", {}),
        "threads": manifest.threads,
        **stage["hyperparameters"],
    }
    return [(key, text[:PARAM_MAX]) for key, text in _flat("", values)]


def _flat(prefix: str, values: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _flat(f"{prefix}{key}.", value)
        elif value is not None:
            found.append((prefix + key, str(value)))
    return found


def _model_name(manifest: Manifest) -> str:
    alias = manifest.spec.get("serving", {}).get("alias", "")
    return str(alias or manifest.spec["name"].rsplit("/", 1)[1])
