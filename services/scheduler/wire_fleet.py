"""Maps profiles and nodes to the messages that operators see; pure."""

from __future__ import annotations

from datetime import datetime

from attune.scheduler.v1 import fleet_pb2, worker_pb2

from services.scheduler.profile import Profile
from services.scheduler.wire import PRECISIONS


def profile_to_proto(profile: Profile, *, live: bool) -> fleet_pb2.ComputeProfile:
    """Return the message of a profile.

    Args:
        profile: Any of the catalogue.
        live: Whether a live node has such a device.
    """
    return fleet_pb2.ComputeProfile(
        id=profile.id,
        title=profile.title,
        live=live,
        memory_bytes=profile.memory_bytes,
        precision=PRECISIONS[profile.precision],
        flops_per_s=profile.flops_per_s,
        efficiency=profile.efficiency,
        bandwidth_bytes_per_s=profile.bandwidth_bytes_per_s,
        device_count_per_node=profile.device_count_per_node,
        interconnect=profile.interconnect,
        link_bytes_per_s=profile.link_bytes_per_s,
        node_count=profile.node_count,
        network_bytes_per_s=profile.network_bytes_per_s,
        price_micro_usd_per_hour=profile.price_micro_usd_per_hour,
        price_date=profile.price_date.isoformat() if profile.price_date else "",
        price_source=profile.price_source,
        source=profile.source,
    )


def node_to_proto(
    node: worker_pb2.Node, heartbeat_time: datetime, *, live: bool
) -> fleet_pb2.ComputeNode:
    """Return the message of a node.

    Args:
        node: As it last reported itself.
        heartbeat_time: When that was.
        live: Whether it may be given runs.
    """
    message = fleet_pb2.ComputeNode(
        id=node.id,
        live=live,
        devices=[
            fleet_pb2.NodeDevice(profile=one.profile, memory_bytes=one.memory_bytes)
            for one in node.devices
        ],
        core_count=node.core_count,
        free_slot_count=node.free_slot_count if live else 0,
        base_models=sorted({shape.id for shape in node.base_models}),
        techniques=node.techniques,
        methods=node.methods,
    )
    message.heartbeat_time.FromDatetime(heartbeat_time)
    return message
