"""Device profiles and model shapes: the facts that estimates are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from attune.spec.v1.compute_pb2 import ModelShape


class Precision(StrEnum):
    """Number format of the forward pass."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    """Of devices without bfloat16; its small range asks for scaled losses."""


CPU = "cpu"
"""Id of the profile that every machine has."""
PRECISION_BYTES = {Precision.FLOAT32: 4, Precision.BFLOAT16: 2, Precision.FLOAT16: 2}


@dataclass(frozen=True)
class Profile:
    """What is known of one kind of device."""

    id: str
    title: str
    memory_bytes: int
    """What runs may use of it when no live node says otherwise."""
    precision: Precision
    flops_per_s: float
    """Dense operations per second in its precision."""
    efficiency: float
    """Share of them that training reaches, in (0, 1]."""
    bandwidth_bytes_per_s: float
    layer_overhead_s: float
    """Fixed time per layer of one forward and backward pass, in seconds."""
    price_micro_usd_per_hour: int
    """Of one device, in millionths of a US dollar; 0 on own hardware."""
    source: str
    """Where the figures come from, but the price."""
    link_bytes_per_s: float = 0.0
    """Between devices of one node and one direction; 0 where only the bus joins them."""
    interconnect: str = ""
    """What that link is, such as `NVLink 4`; empty where only the bus joins them."""
    device_count_per_node: int = 1
    """Devices of the largest node that is to be had, at least 1."""
    node_count: int = 1
    """Such nodes that one run may span, at least 1; more only with a network made for it."""
    network_bytes_per_s: float = 0.0
    """Between nodes, for one device and one direction; 0 where nothing joins them."""
    price_source: str = ""
    """Who asks that price, for what; empty without a price."""
    price_date: date | None = None
    """When it was asked; None without a price."""

    @property
    def is_gpu(self) -> bool:
        """Whether it is a card, which has a context of its own and 4-bit kernels."""
        return self.id != CPU

    @property
    def effective_flops_per_s(self) -> float:
        """Operations per second that training gets."""
        return self.flops_per_s * self.efficiency


@dataclass(frozen=True)
class Catalogue:
    """All profiles, and the shapes of models that need not be at hand."""

    profiles: Mapping[str, Profile]
    """By id."""
    shapes: Mapping[str, ModelShape]
    """By model id; the revision is not known here."""
