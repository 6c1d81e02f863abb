"""KeyService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

from typing import Any

from attune.serving.v1 import key_pb2 as pb
from attune.serving.v1.key_pb2_grpc import KeyServiceServicer

from services.common.clock import Clock
from services.common.names import last_part, parse
from services.common.paging import read_page
from services.serving import wire_key
from services.serving.keys.keys import Keys
from services.serving.keys.meter import Meter
from services.serving.keys.usage import LISTED_MAX, span_of
from services.serving.keys.usage_store import UsageStore

PARENT = "projects/{project}"


class KeyServicer(KeyServiceServicer):
    """Makes, shows and ends keys, and reads what was used."""

    def __init__(self, keys: Keys, usage: UsageStore, meter: Meter, clock: Clock) -> None:
        self._keys = keys
        self._usage = usage
        self._meter = meter
        self._clock = clock

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, context: Any
    ) -> pb.CreateApiKeyResponse:
        project = parse(request.parent, PARENT, field="parent")["project"]
        asked = request.api_key
        expire_time = wire_key.moment_from_proto(
            asked.expire_time, is_set=asked.HasField("expire_time")
        )
        limits = wire_key.limits_from_proto(asked.limits)
        key, secret = await self._keys.create(request, project, asked.models, limits, expire_time)
        return pb.CreateApiKeyResponse(api_key=key, secret=secret)

    async def ListApiKeys(
        self, request: pb.ListApiKeysRequest, context: Any
    ) -> pb.ListApiKeysResponse:
        project = parse(request.parent, PARENT, field="parent")["project"]
        await self._meter.flush()  # Otherwise a key's last use would be some seconds late.

        async def fetch(after: str, limit: int) -> list[tuple[str, pb.ApiKey]]:
            found = await self._keys.list_page(project, after, limit)
            return [(last_part(key.name), wire_key.key_to_proto(key)) for key in found]

        page, token = await read_page(request, f"ListApiKeys {request.parent}", fetch)
        return pb.ListApiKeysResponse(api_keys=page, next_page_token=token)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Any) -> pb.ApiKey:
        return await self._keys.revoke(request)

    async def GetUsage(self, request: pb.GetUsageRequest, context: Any) -> pb.Usage:
        project = parse(request.parent, PARENT, field="parent")["project"]
        start, end = span_of(
            wire_key.moment_from_proto(request.start_time, is_set=request.HasField("start_time")),
            wire_key.moment_from_proto(request.end_time, is_set=request.HasField("end_time")),
            self._clock.now(),
        )
        await self._meter.flush()
        found = await self._usage.list_sums(project, start, end, LISTED_MAX + 1)
        return wire_key.usage_to_proto(found[:LISTED_MAX], truncated=len(found) > LISTED_MAX)
