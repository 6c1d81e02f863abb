import pytest
from attune.planner.v1 import dataset_pb2, planner_pb2
from attune.scheduler.v1 import scheduler_pb2, worker_pb2
from attune.serving.v1 import deployment_pb2
from attune.spec.v1 import spec_pb2, stage_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from services.common.errors import InvalidArgument
from services.common.validation import check


def broken(request) -> set[tuple[str, str]]:
    with pytest.raises(InvalidArgument) as caught:
        check(request)
    return {(each.field, each.rule) for each in caught.value.violations}


def test_every_missing_field_is_named_not_only_the_first():
    assert broken(scheduler_pb2.CancelJobRequest()) == {
        ("name", "REQUIRED"),
        ("request_id", "REQUIRED"),
    }


def test_required_fields_are_found_at_every_depth():
    spec = spec_pb2.Spec(stages=[stage_pb2.Stage(technique=stage_pb2.TECHNIQUE_SFT)])
    found = broken(scheduler_pb2.EstimateComputeRequest(spec=spec))
    assert ("spec.stages.0.method", "REQUIRED") in found
    assert ("spec.objective", "REQUIRED") in found


def test_zero_counts_as_set_where_the_field_has_presence():
    lora = stage_pb2.LoraParameters(rank=8, alpha=16, dropout=0.0, target_modules=["all-linear"])
    stage = stage_pb2.Stage(hyperparameters=stage_pb2.Hyperparameters(lora=lora))
    request = scheduler_pb2.EstimateComputeRequest(spec=spec_pb2.Spec(stages=[stage]))
    names = {field for field, _ in broken(request)}
    assert not any("lora" in name for name in names)


def test_a_created_resource_may_not_set_what_the_service_sets():
    deployment = deployment_pb2.Deployment(
        name="projects/default/deployments/x", model_version="v", target="shared"
    )
    request = deployment_pb2.CreateDeploymentRequest(
        parent="projects/default", deployment_id="x", deployment=deployment, request_id="r"
    )
    assert broken(request) == {("deployment.name", "OUTPUT_ONLY")}


def test_the_resource_of_an_update_may_be_partial():
    check(
        planner_pb2.UpdateSpecRequest(
            spec=spec_pb2.Spec(name="projects/default/specs/a"),
            update_mask=FieldMask(paths=["display_name"]),
            request_id="r",
        )
    )


def test_a_resource_that_was_read_may_be_sent_back():
    check(
        worker_pb2.RenewLeaseRequest(
            run="r", fence=1, progress=scheduler_pb2.JobProgress(done_count=3)
        )
    )


def test_the_header_inside_a_oneof_is_checked():
    request = dataset_pb2.UploadDatasetRequest(header=dataset_pb2.UploadHeader(parent="p"))
    assert ("header.display_name", "REQUIRED") in broken(request)
