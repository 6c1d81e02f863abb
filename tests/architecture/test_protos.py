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


def test_no_request_asks_for_hardware():
    """Only what a trainer sends about itself may speak of devices."""
    words = re.compile(r"gpu|device|node|instance|machine|profile", re.IGNORECASE)
    asking = [
        name
        for name, _, element in commented(file_set())
        if isinstance(element, descriptor_pb2.FieldDescriptorProto)
        and "Request." in name
        and words.search(element.name)
        and not name.startswith("attune.scheduler.v1.LeaseRunRequest")
    ]
    assert asking == []


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
