"""Maps messages of keys to domain objects and back; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from attune.serving.v1 import key_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from services.common.wire_time import timestamp
from services.serving.keys.key import ApiKey
from services.serving.keys.limits import Limits
from services.serving.keys.usage import Counts


def key_to_proto(key: ApiKey) -> pb.ApiKey:
    """Return the message of a key."""
    return pb.ApiKey(
        name=key.name,
        title=key.title,
        secret_prefix=key.secret_prefix,
        models=key.models,
        limits=pb.Limits(
            requests_per_minute=key.limits.requests_per_minute,
            tokens_per_minute=key.limits.tokens_per_minute,
            concurrent_requests=key.limits.concurrent_requests,
        ),
        create_time=timestamp(key.create_time),
        expire_time=timestamp(key.expire_time),
        revoke_time=timestamp(key.revoke_time),
        last_use_time=timestamp(key.last_use_time),
    )


def limits_from_proto(message: pb.Limits) -> Limits:
    """Return the limits in a message."""

    def value(field: str) -> int | None:
        return getattr(message, field) if message.HasField(field) else None  # type: ignore[arg-type]

    return Limits(
        value("requests_per_minute"), value("tokens_per_minute"), value("concurrent_requests")
    )


def moment_from_proto(message: Timestamp, *, is_set: bool) -> datetime | None:
    """Return a moment in UTC, or None if it is not set."""
    return message.ToDatetime(UTC) if is_set else None


def usage_to_proto(rows: Sequence[tuple[str, str, str, Counts]], *, truncated: bool) -> pb.Usage:
    """Return the message of what was used.

    Args:
        rows: Key, model name, version and counts.
        truncated: Whether there are more.
    """
    return pb.Usage(
        rows=[
            pb.UsageRow(
                api_key=api_key,
                model=model,
                model_version=model_version,
                request_count=counts.request_count,
                error_count=counts.error_count,
                prompt_token_count=counts.prompt_token_count,
                answer_token_count=counts.answer_token_count,
            )
            for api_key, model, model_version, counts in rows
        ],
        truncated=truncated,
    )
