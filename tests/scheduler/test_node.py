"""What a node may say of itself."""

import pytest

from services.scheduler.node import check_node, find_shape
from tests.scheduler.factories import a_node, a_spec


def fields_of(node):
    return [violation.field for violation in check_node(node)]


def test_good_node_breaks_no_rule():
    assert fields_of(a_node()) == []


def test_every_broken_rule_is_named():
    node = a_node("Node_A", instance="one", profile="An abacus", memory_gib=-1, free=-1)
    node.core_count = -2
    node.base_models[0].layer_count = -4
    assert fields_of(node) == [
        "node.id",
        "node.instance",
        "node.core_count",
        "node.free_slot_count",
        "node.devices.0.profile",
        "node.devices.0.memory_bytes",
        "node.base_models.0.layer_count",
    ]


@pytest.mark.parametrize("node_id", ["a", "trainer-1", "a" * 63])
def test_good_ids(node_id):
    assert fields_of(a_node(node_id)) == []


def test_exact_revision_is_preferred():
    old, new = a_node("node-a"), a_node("node-b")
    old.base_models[0].revision = "2" * 64
    spec = a_spec(revision=new.base_models[0].revision)
    assert find_shape(spec.base_model, [old, new]) == new.base_models[0]
    assert find_shape(a_spec().base_model, [old, new]) == old.base_models[0]
    assert find_shape(a_spec(base_model="no/model").base_model, [old, new]) is None
