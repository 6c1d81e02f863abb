"""Canned answers of what there is to compute on, and a plan's hardware as a scheduler infers it."""

from attune.scheduler.v1 import fleet_pb2
from attune.spec.v1 import compute_pb2, spec_pb2, stage_pb2

GIB = 1024**3
REASON = (
    "The cheapest live device that fits: NVIDIA L4 needs up to 18.3 GiB of 22.2 GiB, about 41 min "
    "and $0.55; micro-batches of 4 x 16 keep the effective batch."
)
REJECTED = (
    ("cpu", 0, "It needs up to 61.2 GiB of memory and One processor core offers 8.0 GiB."),
    ("rtxpro6000-96gb", 812_000, "No live trainer has one. It costs more: about 12 min and $0.81."),
    ("h100-80gb", 9_000, "No live trainer has one. It takes longer than anybody would think."),
)


def a_compute_plan() -> compute_pb2.ComputePlan:
    """Return the hardware of a plan that can run now."""
    plan = compute_pb2.ComputePlan(available=True, cost_micro_usd=550_000)
    plan.expected_duration.seconds = 2460
    stage = plan.stages.add(profile="l4-24gb", device_count=1, step_count=374, reason=REASON)
    stage.step_duration.FromMilliseconds(6200)
    stage.expected_duration.seconds, stage.cost_micro_usd = 2460, 550_000
    layout = stage.parallel_plan
    layout.micro_batch_size, layout.gradient_accumulation_steps = 4, 16
    layout.gradient_checkpointing = True
    layout.sharding = compute_pb2.ParallelPlan.SHARDING_NONE
    layout.precision = compute_pb2.ParallelPlan.PRECISION_FLOAT16
    memory = stage.memory
    memory.low_bytes, memory.expected_bytes, memory.high_bytes = 14 * GIB, 16 * GIB, 18 * GIB
    memory.capacity_bytes = 22 * GIB
    for title, gib in (
        ("weights", 8.0),
        ("activations", 6.0),
        ("adapter and optimizer that has a long name", 1.98),
        ("logits", 0.02),
    ):
        memory.components.add(title=title, size_bytes=round(gib * GIB))
    for profile, cost, reason in REJECTED:
        stage.rejected_placements.add(profile=profile, cost_micro_usd=cost, reason=reason)
    return plan


def a_compute_profile(number: int) -> fleet_pb2.ComputeProfile:
    """Return a profile with the widest figures that the catalogue has."""
    return fleet_pb2.ComputeProfile(
        id=f"rtxpro6000-96gb{number}"[-15:],
        title="NVIDIA RTX PRO 6000 Blackwell 96GB",
        live=number == 1,
        memory_bytes=(191 - number) * GIB,
        precision=compute_pb2.ParallelPlan.PRECISION_FLOAT16,
        flops_per_s=503.8e12,
        efficiency=0.5,
        bandwidth_bytes_per_s=1792e9,
        device_count_per_node=8,
        interconnect="NVLink 5",
        link_bytes_per_s=900e9,
        node_count=4,
        network_bytes_per_s=50e9,
        price_micro_usd_per_hour=12_345_000,
        price_date=f"2026-0{number + 1}-20",
        price_source="A cloud",
        source="A datasheet",
    )


def a_compute_node(name: str, *, live: bool) -> fleet_pb2.ComputeNode:
    """Return a node with eight cards and more models than a line holds."""
    node = fleet_pb2.ComputeNode(
        id=name,
        live=live,
        devices=[fleet_pb2.NodeDevice(profile="h100-80gb", memory_bytes=79 * GIB)] * 8,
        core_count=96,
        free_slot_count=2 if live else 0,
        base_models=[f"organisation-{number}/some-model-7b-instruct" for number in range(6)],
        techniques=[stage_pb2.TECHNIQUE_SFT, stage_pb2.TECHNIQUE_DPO],
        methods=[stage_pb2.METHOD_LORA],
    )
    node.heartbeat_time.FromSeconds(1_900_000_000)
    return node


class CannedCompute:
    """Answers for `attune compute`."""

    compute: compute_pb2.ComputePlan | None = None
    fleet = (a_compute_node("node-a", live=True), a_compute_node("n" * 63, live=False))

    def placed(self, spec: spec_pb2.Spec) -> spec_pb2.Spec:
        """Return a plan with the hardware that a test wants it to have."""
        if self.compute is not None:
            spec.compute.CopyFrom(self.compute)
        return spec

    async def ListComputeProfiles(self, request, context):
        self._keep(request)
        index = int(request.page_token or 0)
        return fleet_pb2.ListComputeProfilesResponse(
            profiles=[a_compute_profile(index)], next_page_token="1" if index == 0 else ""
        )

    async def ListNodes(self, request, context):
        self._keep(request)
        return fleet_pb2.ListNodesResponse(nodes=self.fleet)
