import json

from attune.serving.v1 import model_pb2

from tests.cli.canned import VERSION


def test_an_export_says_where_it_is_and_how_it_is_served(attune, services):
    result = attune("model", "export", "tickets/1")
    assert services.asked[-1].name == VERSION
    assert "/artefacts/exports/v1 has 1.0 MiB in all" in result.out
    assert "vllm serve ./base" in result.out
    assert json.loads(attune("model", "export", "tickets/1", "--json").out)["size_bytes"]


def test_a_version_is_deleted_by_its_number_and_with_consent_only(attune, services):
    asked = len(services.asked)
    assert "--yes" in attune("model", "delete", "tickets/1").err
    assert "no number" in attune("model", "delete", "tickets", "--yes").err
    assert len(services.asked) == asked
    result = attune("model", "delete", "tickets/1", "--yes")
    assert services.asked[-1].name == VERSION
    assert "1.0 MiB are free again" in result.out
    assert "One thing stays." in result.out


def test_deleted_versions_are_listed_on_request(attune, services):
    services.version_states = [model_pb2.ModelVersion.STATE_DELETED]
    assert "tickets/1" not in attune("model", "list").out
    assert "deleted" in attune("model", "list", "--all").out
