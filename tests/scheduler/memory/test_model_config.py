"""Shapes from `config.json`: of every kind that people bring, and of broken ones."""

import pytest

from services.common.errors import InvalidArgument
from services.scheduler.memory.model_config import read_model_config

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}
MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
QWEN3_MOE = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "num_experts": 128,
    "num_experts_per_tok": 8,
}
GEMMA3 = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262208,
    },
}
FALCON = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_hidden_layers": 32,
    "num_attention_heads": 71,
    "multi_query": True,
    "vocab_size": 65024,
}


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (LLAMA, 8_030_261_248),
        (GPT2, 124_000_000),
        (MIXTRAL, 46_702_792_704),
        (QWEN3_MOE, 30_532_122_624),
        (GEMMA3, 3_880_263_168),
        (FALCON, 6_921_720_704),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)
def test_parameters_follow_from_the_file(config, published):
    shape = read_model_config(config, "some/model")
    assert shape.parameter_count == pytest.approx(published, rel=0.01)


def test_width_of_a_mixture_is_that_of_the_experts_that_a_token_is_sent_to():
    shape = read_model_config(QWEN3_MOE, "some/model")
    assert (shape.intermediate_size, shape.expert_count, shape.experts_per_token) == (6144, 128, 8)


def test_what_sets_kinds_apart_is_read():
    assert read_model_config(GEMMA3, "some/model").norm_count == 4
    assert read_model_config(FALCON, "some/model").ungated
    assert read_model_config(FALCON, "some/model").kv_head_count == 1
    assert read_model_config(QWEN3_MOE, "some/model").query_norms
    assert read_model_config(GPT2, "some/model").tied_embeddings


def test_every_missing_field_is_named():
    with pytest.raises(InvalidArgument) as caught:
        read_model_config({"hidden_size": "large", "vocab_size": -3}, "some/model")
    assert {violation.field for violation in caught.value.violations} == {
        "config.num_hidden_layers",
        "config.hidden_size",
        "config.vocab_size",
        "config.num_attention_heads",
    }
