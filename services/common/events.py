"""NATS JetStream: publishing, and durable consumers that survive anything but loss of the disk."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import nats
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig
from nats.js.errors import NotFoundError

log = logging.getLogger(__name__)

STREAM = "ATTUNE_EVENTS"
DEAD_LETTERS = "ATTUNE_DLQ"
MAX_AGE_S = 30 * 24 * 3600.0
STREAM_BYTES_MAX = 1024**3
ACK_WAIT_S = 30.0
DELIVERIES_MAX = 5
"""After so many failures an event goes to the dead letters."""
RETRY_DELAY_S = 1.0
FETCH_MAX = 20
FETCH_WAIT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
RECONNECT_S = 1.0
REFUSAL = "authorization violation"
"""What the server calls a wrong user or password; nats-py has no class for it while it connects."""

Data = TypeVar("Data", bound=Message)


class EventsAway(Exception):
    """NATS cannot be reached now."""


class PoisonedEvent(Exception):
    """An event that no retry will ever make readable."""


@dataclass(frozen=True)
class Event:
    """One event as it arrived."""

    id: str
    """The same in every delivery."""
    type: str
    """Such as `attune.v1.spec.approved`."""
    resource: str
    """Name of the resource that changed."""
    data: dict[str, Any]
    """Proto JSON with proto field names."""

    def parse(self, message: Data) -> Data:
        """Fill an empty message with the data and return it.

        Raises:
            PoisonedEvent: If the data are not that message. Unknown fields are fine.
        """
        try:
            return ParseDict(self.data, message, ignore_unknown_fields=True)
        except ParseError as error:
            raise PoisonedEvent(str(error)) from None


Handler = Callable[[Event], Awaitable[None]]


def subject_of(project: str, event: str, resource_id: str) -> str:
    """Return the subject of an event.

    Args:
        project: Id of the project, or `*`.
        event: Such as `job.succeeded`.
        resource_id: Id of the resource, or `*`.
    """
    kind, happened = event.split(".")
    return f"attune.v1.{project}.{kind}.{resource_id}.{happened}"


class Bus:
    """A connection to NATS that is made on first use and comes back by itself."""

    def __init__(self, url: str, name: str, replica_count: int = 1) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: Such as `nats://127.0.0.1:7122`; several, separated by commas, of a cluster.
            name: Shown to operators.
            replica_count: Servers of the cluster that keep each event of a stream made here.
        """
        self._servers = [one.strip() for one in url.split(",")]
        self._name = name
        self._replica_count = replica_count
        self._was_refused = False
        self._client: Client | None = None
        self._has_streams = False
        self._lock = asyncio.Lock()

    async def publish(self, subject: str, payload: bytes, event_id: str) -> None:
        """Publish and wait until the stream has it; a repeat within two minutes is dropped there.

        Raises:
            EventsAway: If the stream did not confirm.
        """
        stream = await self._stream()
        try:
            await stream.publish(subject, payload, headers={"Nats-Msg-Id": event_id}, timeout=5)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            self._has_streams = False  # The server may have come back without its disk.
            raise EventsAway(f"not confirmed: {error}") from None

    async def consume(self, durable: str, event: str, handler: Handler) -> None:
        """Hand every event of one kind to the handler, for ever.

        An event is acknowledged when the handler returns. When it raises, the event comes again,
        at most 5 times; then, or at once when it cannot be read, it goes to the dead letters.

        Args:
            durable: Name of the consumer; its position outlives the process.
            event: Such as `spec.approved`.
            handler: Must be safe to call twice with the same event.
        """
        while True:
            try:
                await self._consume(durable, event, handler)
            except (EventsAway, nats.errors.Error, TimeoutError, OSError) as error:
                self._has_streams = False
                log.debug("consumer %s waits for NATS: %s", durable, error)
                await asyncio.sleep(RECONNECT_S)

    async def close(self) -> None:
        """Close the connection if there is one."""
        if self._client is not None:
            await self._client.close()

    async def _consume(self, durable: str, event: str, handler: Handler) -> None:
        stream = await self._stream()
        subject = subject_of("*", event, "*")
        config = ConsumerConfig(
            durable_name=durable,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            # One more than the handler gets: the last is for a process that died while it tried.
            max_deliver=DELIVERIES_MAX + 1,
            deliver_policy=DeliverPolicy.ALL,
            filter_subject=subject,
        )
        # pull_subscribe would keep the settings of an older version's consumer.
        await stream.add_consumer(STREAM, config)
        subscription = await stream.pull_subscribe_bind(durable, STREAM)
        while True:
            try:
                messages = await subscription.fetch(FETCH_MAX, timeout=FETCH_WAIT_S)
            except TimeoutError:
                continue
            for message in messages:
                await self._handle(stream, durable, message, handler)

    async def _handle(
        self, stream: JetStreamContext, durable: str, message: Msg, handler: Handler
    ) -> None:
        try:
            await handler(read_event(message.data))
        except PoisonedEvent as error:
            await self._bury(stream, durable, message, f"cannot be read: {error}")
        except Exception as error:
            if message.metadata.num_delivered >= DELIVERIES_MAX:
                log.exception("consumer %s gives up on an event", durable)
                await self._bury(
                    stream, durable, message, f"failed {DELIVERIES_MAX} times: {error}"
                )
            else:
                log.warning("consumer %s will try again: %s", durable, error)
                await message.nak(delay=RETRY_DELAY_S)
        else:
            await message.ack()

    async def _bury(
        self, stream: JetStreamContext, durable: str, message: Msg, reason: str
    ) -> None:
        headers = {"Attune-Consumer": durable, "Attune-Reason": reason.replace("\n", " ")[:500]}
        subject = message.subject.replace("attune.v1.", "attune.dlq.", 1)
        await stream.publish(subject, message.data, headers=headers)
        await message.term()
        log.error("event on %s went to %s: %s", message.subject, DEAD_LETTERS, reason)

    async def _stream(self) -> JetStreamContext:
        async with self._lock:
            if self._client is None or self._client.is_closed:
                try:
                    self._client = await nats.connect(
                        self._servers,
                        name=self._name,
                        connect_timeout=CONNECT_TIMEOUT_S,
                        allow_reconnect=True,
                        max_reconnect_attempts=-1,
                        reconnect_time_wait=RECONNECT_S,
                        error_cb=self._note,
                    )
                except (nats.errors.Error, TimeoutError, OSError) as error:
                    raise EventsAway(f"no NATS at {self._places()}: {error}") from None
            if not self._client.is_connected:
                raise EventsAway("connection lost; reconnecting")
            if not self._has_streams:
                await _ensure_streams(self._client.jetstream(), self._replica_count)
                self._has_streams = True
            return self._client.jetstream()

    async def _note(self, error: Exception) -> None:
        """Take note of what nats-py reports, which prints a stack trace for each otherwise.

        It tries for ever, also with a password that will never be right, which it must be said of.
        """
        if REFUSAL in str(error).lower() and not self._was_refused:
            self._was_refused = True
            log.error("NATS at %s refuses our user and password", self._places())
        log.debug("NATS: %s", error)

    def _places(self) -> str:
        """Return the addresses without user and password."""
        return ", ".join(one.rpartition("@")[2] for one in self._servers)


def read_event(payload: bytes) -> Event:
    """Return the event in a message.

    Raises:
        PoisonedEvent: If it is not structured CloudEvents JSON.
    """
    try:
        body = json.loads(payload)
        return Event(body["id"], body["type"], body["subject"], body["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise PoisonedEvent(repr(error)) from None


async def _ensure_streams(stream: JetStreamContext, replica_count: int) -> None:
    for name, subjects in ((STREAM, "attune.v1.>"), (DEAD_LETTERS, "attune.dlq.>")):
        try:
            await stream.stream_info(name)
        except NotFoundError:
            config = StreamConfig(
                name=name,
                subjects=[subjects],
                max_age=MAX_AGE_S,
                max_bytes=STREAM_BYTES_MAX,
                num_replicas=replica_count,
            )
            await stream.add_stream(config)
