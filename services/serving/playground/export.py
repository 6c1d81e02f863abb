"""Makes a dataset of the preferences of a project and gives it to the planner."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol
from uuid import NAMESPACE_OID, uuid4, uuid5

from attune.serving.v1 import playground_pb2 as pb

from services.common.errors import FailedPrecondition, ResourceExhausted, Violation, invalid
from services.common.names import last_part, parse
from services.serving.playground.exchange import Exchange
from services.serving.playground.exchange_store import ExchangeStore
from services.serving.playground.preference_rows import Shape, rows_of
from services.serving.registry.version_store import VersionStore

PARENT = "projects/{project}"
PAGE_EXCHANGES = 50
EXPORT_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class Dataset:
    """A file of rows as the planner keeps it."""

    name: str
    sha256: str
    """Of its bytes."""


class Datasets(Protocol):
    """Where datasets are kept."""

    async def upload(
        self, parent: str, display_name: str, content: bytes, request_id: str
    ) -> Dataset:
        """Keep a file of JSON lines; a repeat with the same request_id returns the first dataset.

        Raises:
            ServiceError: If the planner is away or refuses.
        """
        ...


@dataclass
class _Rows:
    """Rows as they are collected, newest exchange first."""

    lines: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    left_out_count: int = 0
    model_versions: set[str] = field(default_factory=set)

    def add(self, exchange: Exchange, shape: Shape) -> None:
        """Add what an exchange makes.

        Raises:
            ResourceExhausted: If there is more than a dataset may hold.
        """
        made = rows_of(exchange, shape)
        self.left_out_count += not made
        for row in reversed(made):
            self.lines.append(json.dumps(row.body, ensure_ascii=False).encode() + b"\n")
            self.size_bytes += len(self.lines[-1])
            self.model_versions |= row.model_versions
        if self.size_bytes > EXPORT_BYTES_MAX:
            raise ResourceExhausted(
                f"The rows have over {EXPORT_BYTES_MAX:,} bytes. Export those of one version: set "
                "model_version.",
                reason="EXPORT_TOO_LARGE",
                max_bytes=str(EXPORT_BYTES_MAX),
            )

    def content(self) -> bytes:
        """Return the file, oldest exchange first, so that a later export begins the same way."""
        return b"".join(reversed(self.lines))


class PreferenceExports:
    """Makes datasets of preferences."""

    def __init__(
        self, exchanges: ExchangeStore, versions: VersionStore, datasets: Datasets
    ) -> None:
        """Keep where preferences come from, and where datasets go."""
        self._exchanges = exchanges
        self._versions = versions
        self._datasets = datasets

    async def export(
        self, request: pb.ExportPreferencesRequest, shape: Shape
    ) -> pb.ExportPreferencesResponse:
        """Return the dataset of a request, or the first answer to a repeated one.

        Raises:
            InvalidArgument: If a field breaks its rule.
            NotFound: If there is no such version.
            FailedPrecondition: If no row can be made of any preference.
            ResourceExhausted: If there are more rows than a dataset may hold.
            Unavailable: If the planner is away.
        """
        project = parse(request.parent, PARENT, field="parent")["project"]
        if found := await self._exchanges.find_export(request):
            return found
        await self._check_version(request)
        rows = _Rows()
        async for exchange in self._preferred(project):
            if not request.model_version or request.model_version in exchange.versions:
                rows.add(exchange, shape)
        if not rows.lines:
            raise FailedPrecondition(
                f"None of {rows.left_out_count} preferences makes a row. "
                "Pairs need a better and a worse answer, or a corrected one; demonstrations a "
                "good or a corrected one. Record more with RecordPreference.",
                reason="NO_ROWS",
                left_out_count=str(rows.left_out_count),
            )
        dataset = await self._upload(request, shape, rows.content())
        made = pb.ExportPreferencesResponse(
            dataset=dataset.name,
            row_count=len(rows.lines),
            left_out_count=rows.left_out_count,
            model_versions=sorted(rows.model_versions),
        )
        return await self._exchanges.keep_export(request, made)

    async def _check_version(self, request: pb.ExportPreferencesRequest) -> None:
        if not request.model_version:
            return
        version = await self._versions.get(request.model_version, field="model_version")
        if not version.name.startswith(f"{request.parent}/"):
            text = f"'{version.name}' is not of {request.parent}. Name a version of it."
            raise invalid([Violation("model_version", "PROJECT", text)])

    async def _preferred(self, project: str) -> AsyncIterator[Exchange]:
        """Yield the exchanges that have a preference, newest first, page by page."""
        after = ""
        while page := await self._exchanges.list_page(
            project, after, PAGE_EXCHANGES, with_preference=True
        ):
            for exchange in page:
                yield exchange
            after = page[-1].id

    async def _upload(
        self, request: pb.ExportPreferencesRequest, shape: Shape, content: bytes
    ) -> Dataset:
        """Return the dataset that has exactly these bytes."""
        name = f"preferences-{shape.value.lower()}{_of_version(request.model_version)}.jsonl"
        key = str(uuid5(NAMESPACE_OID, f"ExportPreferences {request.request_id}"))
        dataset = await self._datasets.upload(request.parent, name, content, key)
        if dataset.sha256 == sha256(content).hexdigest():
            return dataset
        # An earlier try of this request ended between upload and answer, and since then somebody
        # changed an opinion: its dataset is not what the answer would say.
        return await self._datasets.upload(request.parent, name, content, str(uuid4()))


def _of_version(model_version: str) -> str:
    if not model_version:
        return ""
    return f"-{model_version.split('/')[3]}-{last_part(model_version)}"
