"""Every element of the contract is explained, and the style is the field's."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from descriptors import commented, file_set
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[2]
BEHAVIOURS = {
    "Required": field_behavior_pb2.REQUIRED,
    "Optional": field_behavior_pb2.OPTIONAL,
    "Output only": field_behavior_pb2.OUTPUT_ONLY,
}
BUF_YAML = """version: v2
modules: [{path: ours}, {path: google}]
lint:
  use: [STANDARD, COMMENTS]
  # Get, Create and Update return the resource itself (AIP-131 to 134).
  except: [RPC_RESPONSE_STANDARD_NAME, RPC_REQUEST_RESPONSE_UNIQUE]
  ignore: [google]
"""


def test_buf_finds_nothing_to_say(tmp_path):
    shutil.copytree(ROOT / "protos" / "attune", tmp_path / "ours" / "attune")
    spec = find_spec("google.rpc.status_pb2")
    google = Path(spec.origin).parents[1]
    for folder in ("api", "rpc"):
        shutil.copytree(
            google / folder,
            tmp_path / "google" / "google" / folder,
            ignore=lambda _, names: [n for n in names if not n.endswith(".proto") and "." in n],
        )
    (tmp_path / "buf.yaml").write_text(BUF_YAML)
    buf = Path(sys.executable).parent / "buf"
    result = subprocess.run(
        [buf, "lint"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_element_has_a_comment_that_is_a_sentence():
    bare = [name for name, comment, _ in commented(file_set()) if not comment.endswith((".", ":"))]
    assert bare == []


def test_field_comments_open_with_the_behaviour_that_the_annotation_says():
    wrong = []
    for name, comment, element in commented(file_set()):
        if not isinstance(element, descriptor_pb2.FieldDescriptorProto) or ".events." in name:
            continue
        marks = element.options.Extensions[field_behavior_pb2.field_behavior]
        word = re.match(r"(Required|Optional|Output only)\b", comment)
        in_oneof = element.HasField("oneof_index") and not element.proto3_optional
        if in_oneof and not marks:
            continue
        if word is None or list(marks) != [BEHAVIOURS[word.group(1)]]:
            wrong.append(name)
    assert wrong == []


USER_SERVICES = ("attune.planner.v1", "attune.scheduler.v1", "attune.serving.v1")
TRAINERS_OWN = "attune.scheduler.v1.WorkerService"
HARDWARE = {
    "accelerator", "cluster", "core", "cpu", "cuda", "device", "gpu", "hardware", "host",
    "instance", "machine", "node", "npu", "parallel", "parallelism", "profile", "replica", "shard",
    "sharding", "slot", "tpu", "vcpu", "vram", "worker",
}  # fmt: skip

NOT_ASKED = {
    # Counts what an answer lists.
    "page_size",
    # Says that the number of devices does not matter.
    "effective_batch_size",
    # Permits the scheduler a larger profile when memory ran out; which one stays its own affair.
    "permitted_fallbacks",
}


def speaks_of_hardware(text: str) -> bool:
    """Return whether a name or a sentence has a word for hardware: `gpu_count`, `DeviceKind`."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return any(word in HARDWARE or word.removesuffix("s") in HARDWARE for word in words)


def fields_asked(request: str) -> dict[str, list[str]]:
    """Return what a sender may set in a message and all within it.

    Returns:
        Path of each field to all that says what it takes: its name, its comment, its type and, of
        an enum, the values.
    """
    elements = {f".{name}": (comment, one) for name, comment, one in commented(file_set())}
    found: dict[str, list[str]] = {}

    def walk(message: str, path: str, above: tuple[str, ...]) -> None:
        for field in elements[message][1].field if message in elements else ():
            marks = field.options.Extensions[field_behavior_pb2.field_behavior]
            if field_behavior_pb2.OUTPUT_ONLY in marks:
                continue
            here, kind = f"{path}.{field.name}", field.type_name
            found[here] = [field.name, elements[f"{message}.{field.name}"][0], kind]
            if field.type == descriptor_pb2.FieldDescriptorProto.TYPE_ENUM:
                found[here] += [value.name for value in elements[kind][1].value]
            elif kind not in above:
                walk(kind, here, (*above, kind))

    walk(request, request.removeprefix("."), (request,))
    return found


def requests_of(*packages: str) -> dict[str, str]:
    """Return the request type of every method of the packages' services."""
    return {
        f"{file.package}.{service.name}.{method.name}": method.input_type
        for file in file_set().file
        for service in file.service
        if file.package in packages
        for method in service.method
    }


def asks_for_hardware(request: str) -> list[str]:
    """Return the fields of a request, at any depth, that speak of hardware anywhere."""
    return [
        path
        for path, texts in fields_asked(request).items()
        if any(map(speaks_of_hardware, texts)) and texts[0] not in NOT_ASKED
    ]


def test_nothing_that_a_user_sends_asks_for_hardware():
    """Walks every request, with all messages inside it, of every service but the trainer's own."""
    requests = {
        method: request
        for method, request in requests_of(*USER_SERVICES).items()
        if not method.startswith(TRAINERS_OWN)
    }
    assert {method.rsplit(".", 2)[1] for method in requests} >= {
        "PlannerService", "DatasetService", "SchedulerService",
        "ModelService", "DeploymentService", "PlaygroundService",
    }  # fmt: skip
    asking = {method: asks_for_hardware(request) for method, request in requests.items()}
    assert {method: paths for method, paths in asking.items() if paths} == {}


def test_the_walk_reaches_what_is_nested_and_sees_hardware_where_it_is():
    spec = fields_asked(".attune.planner.v1.UpdateSpecRequest")
    inside = "attune.planner.v1.UpdateSpecRequest.spec.stages.hyperparameters.lora.rank"
    assert inside in spec
    assert not any(".spec.compute" in path for path in spec)  # Output only, with all within.
    lease = asks_for_hardware(".attune.scheduler.v1.LeaseRunRequest")
    assert "attune.scheduler.v1.LeaseRunRequest.node.devices.profile" in lease


def test_times_counts_and_numbers_are_typed_as_the_conventions_say():
    wrong = []
    unsigned = {
        descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
        descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
        descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
    }
    for name, _, element in commented(file_set()):
        if isinstance(element, descriptor_pb2.FieldDescriptorProto):
            timed = element.name.endswith("_time")
            if element.type in unsigned or timed != element.type_name.endswith(".Timestamp"):
                wrong.append(name)
    assert [name for name in wrong if not name.endswith("MetricPoint.time")] == []
