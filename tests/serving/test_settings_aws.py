"""AWS in the settings: whole or refused, and never a secret."""

import pytest

from services.serving.settings import ServingSettings

BEDROCK = {
    "ATTUNE_SERVING_AWS_TARGET": "bedrock",
    "ATTUNE_SERVING_AWS_REGION": "us-east-1",
    "ATTUNE_SERVING_AWS_ARTEFACTS": "s3://my-bucket/attune/here/",
    "ATTUNE_SERVING_AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/attune-serving",
}
SAGEMAKER = {
    **BEDROCK,
    "ATTUNE_SERVING_AWS_TARGET": "sagemaker",
    "ATTUNE_SERVING_AWS_IMAGE": "123456789012.dkr.ecr.us-east-1.amazonaws.com/vllm:1",
    "ATTUNE_SERVING_AWS_INSTANCE_TYPE": "ml.g5.xlarge",
}


def read(environ, **changes):
    return ServingSettings.read("serving", {**environ, **changes})


def refusal(environ, **changes):
    with pytest.raises(SystemExit) as end:
        read(environ, **changes)
    return str(end.value)


def test_nothing_of_aws_is_configured_by_default():
    assert read({}).aws_target == ""


@pytest.mark.parametrize("environ", [BEDROCK, SAGEMAKER])
def test_a_whole_configuration_is_read(environ):
    assert read(environ).aws_bucket == ("my-bucket", "attune/here")
    bare = read(environ, ATTUNE_SERVING_AWS_ARTEFACTS="s3://my-bucket")
    assert bare.aws_bucket == ("my-bucket", "")


@pytest.mark.parametrize("missing", sorted(SAGEMAKER.keys() - {"ATTUNE_SERVING_AWS_TARGET"}))
def test_half_a_configuration_is_refused_in_one_line_with_the_setting(missing):
    text = refusal({name: SAGEMAKER[name] for name in SAGEMAKER if name != missing})
    assert text.startswith(missing)
    assert text.count("\n") == 0
    assert "ATTUNE_SERVING_AWS_TARGET=sagemaker needs it" in text


def test_a_setting_without_a_target_that_uses_it_is_refused():
    assert refusal({"ATTUNE_SERVING_AWS_REGION": "us-east-1"}).startswith(
        "ATTUNE_SERVING_AWS_REGION"
    )
    text = refusal(BEDROCK, ATTUNE_SERVING_AWS_IMAGE=SAGEMAKER["ATTUNE_SERVING_AWS_IMAGE"])
    assert text.startswith("ATTUNE_SERVING_AWS_IMAGE")
    assert "AWS_TARGET is bedrock, which has no use for it" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ATTUNE_SERVING_AWS_TARGET", "lambda"),
        ("ATTUNE_SERVING_AWS_REGION", "Frankfurt"),
        ("ATTUNE_SERVING_AWS_ARTEFACTS", "my-bucket"),
        ("ATTUNE_SERVING_AWS_ROLE_ARN", "attune-serving"),
        ("ATTUNE_SERVING_AWS_IMAGE", "vllm"),
        ("ATTUNE_SERVING_AWS_INSTANCE_TYPE", "g5.xlarge"),
        ("ATTUNE_SERVING_AWS_INSTANCE_COUNT", "0"),
        ("ATTUNE_SERVING_AWS_HOUR_COST_USD", "-1"),
        ("ATTUNE_SERVING_AWS_ENVIRONMENT", "SM_VLLM_MAX_MODEL_LEN"),
        ("ATTUNE_SERVING_AWS_ENVIRONMENT", "HF_TOKEN=x"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_with_the_setting(name, value):
    text = refusal(SAGEMAKER, **{name: value})
    assert text.startswith(name)
    assert text.count("\n") == 0


def test_no_setting_takes_credentials_and_what_looks_like_one_is_not_repeated():
    ours = {name for name in ServingSettings.model_fields if name.startswith("aws_")}
    assert ours == {
        "aws_target",
        "aws_region",
        "aws_artefacts",
        "aws_role_arn",
        "aws_image",
        "aws_instance_type",
        "aws_instance_count",
        "aws_environment",
        "aws_hour_cost_usd",
    }
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        text = refusal(SAGEMAKER, **{f"ATTUNE_SERVING_AWS_{name}": "hidden-value"})
        assert "is not a setting" in text
        assert "hidden-value" not in text


def test_variables_of_the_container_are_read_and_no_secret_is_repeated():
    text = refusal(SAGEMAKER, ATTUNE_SERVING_AWS_ENVIRONMENT="A=b HF_TOKEN=hidden-value")
    assert "'HF_TOKEN' sounds like a secret" in text
    assert "hidden-value" not in text
    read_back = read(SAGEMAKER, ATTUNE_SERVING_AWS_ENVIRONMENT="SM_VLLM_MAX_MODEL_LEN=8 A=b=c")
    assert read_back.aws_variables == {"SM_VLLM_MAX_MODEL_LEN": "8", "A": "b=c"}
