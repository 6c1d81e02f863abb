"""Prints every job that succeeds, once, whatever is delivered twice.

Usage: python examples/consumer.py NATS_URL [COUNT]   (COUNT: stop after so many events)
"""

import asyncio
import json
import sys

import nats
from attune.events.v1 import events_pb2
from google.protobuf.json_format import ParseDict
from nats.js.api import AckPolicy, ConsumerConfig

STREAM = "ATTUNE_EVENTS"
SUBJECT = "attune.v1.*.job.*.succeeded"


async def main(url: str, count: int) -> None:
    """Pull, act once per event id, acknowledge."""
    client = await nats.connect(url)
    stream = client.jetstream()
    config = ConsumerConfig(
        durable_name="my-integration", filter_subject=SUBJECT, ack_policy=AckPolicy.EXPLICIT
    )
    await stream.add_consumer(STREAM, config)
    subscription = await stream.pull_subscribe_bind("my-integration", STREAM)
    seen: set[str] = set()  # Yours belongs in the database, in the transaction of the effect.
    while len(seen) < count:
        try:
            messages = await subscription.fetch(10, timeout=5)
        except TimeoutError:
            continue
        for message in messages:
            event = json.loads(message.data)
            if event["id"] not in seen:
                seen.add(event["id"])
                job = ParseDict(
                    event["data"], events_pb2.JobSucceeded(), ignore_unknown_fields=True
                ).job
                print(f"{event['time']} {job.name}: {job.result.report.tuned_score:.1%}")
            await message.ack()
    await client.close()


if __name__ == "__main__":
    limit = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize
    asyncio.run(main(sys.argv[1], limit))
