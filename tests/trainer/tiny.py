"""A tiny random model, a tiny data set and specs for them, made in a test."""

import json
from hashlib import sha256
from pathlib import Path

from attune.scheduler.v1.worker_pb2 import Lease
from attune.spec.v1.compute_pb2 import ParallelPlan, StageCompute
from attune.spec.v1.grader_pb2 import Grader, StringCheckGrader
from attune.spec.v1.spec_pb2 import Data, Spec, SuccessCriterion
from attune.spec.v1.stage_pb2 import Hyperparameters, Method, Technique

from services.common.artefacts import Artefacts, file_sha256, write_manifest
from services.trainer.run import Manifest

MODEL = "test/tiny"
WORDS = "red green blue cat dog bird one two three say colour animal number please the of is a"
TEMPLATE = (
    "{%- for message in messages -%}"
    "<s>{{ message['role'] }}\n"
    "{%- if message['role'] == 'assistant' -%}"
    "{% generation %}{{ message['content'] }}</s>{% endgeneration %}"
    "{%- else -%}{{ message['content'] }}</s>{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<s>assistant\n{%- endif -%}"
)


def save_model(folder: Path) -> None:
    """Write a random Llama of about 0.1 M parameters and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([WORDS, "system user assistant\n"] * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", chat_template=TEMPLATE
    )
    torch.manual_seed(7)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def put_model(artefacts: Artefacts, source: Path) -> str:
    """Copy a saved model under the artefact root and return its revision."""
    revision = sha256(
        "".join(file_sha256(path) for path in sorted(source.iterdir())).encode()
    ).hexdigest()
    folder = artefacts.model(MODEL) / revision
    folder.mkdir(parents=True)
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_manifest(folder, {"id": MODEL, "licence": "Apache-2.0"})
    return revision


def row(kind: str, value: str) -> dict[str, object]:
    return {
        "messages": [
            {"role": "user", "content": f"say the {kind} {value}"},
            {"role": "assistant", "content": f"{kind} {value}"},
        ]
    }


def rows(count: int) -> list[dict[str, object]]:
    kinds, values = ["colour", "animal", "number"], WORDS.split()[:9]
    return [row(kinds[index % 3], values[index % 9]) for index in range(count)]


def pair(kind: str, value: str) -> dict[str, object]:
    """Return a row of preferences: the right answer before the one that has it backwards."""
    return {
        "prompt": [{"role": "user", "content": f"say the {kind} {value}"}],
        "chosen": [{"role": "assistant", "content": f"{kind} {value}"}],
        "rejected": [{"role": "assistant", "content": f"{value} {kind}"}],
    }


def pairs(count: int) -> list[dict[str, object]]:
    kinds, values = ["colour", "animal", "number"], WORDS.split()[:9]
    return [pair(kinds[index % 3], values[index % 9]) for index in range(count)]


def put_rows(artefacts: Artefacts, content: list[dict[str, object]]) -> str:
    """Write rows under the artefact root and return their hash."""
    data = "".join(json.dumps(one) + "\n" for one in content).encode()
    digest = sha256(data).hexdigest()
    path = artefacts.dataset(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return digest


def a_spec(revision: str, train_sha256: str, holdout_sha256: str, **changes: object) -> Spec:
    """Return an approved spec; `changes` are hyperparameters."""
    spec = Spec(name="projects/default/specs/tiny", revision=1, display_name="Tiny")
    spec.objective.problem = "Say it again."
    spec.objective.success_criteria.add(title="Right", metric="exact", target=0.9)
    spec.objective.success_criteria.add(
        title="Each label", metric="exact", aggregate=SuccessCriterion.AGGREGATE_MACRO_F1
    )
    spec.base_model.id = MODEL
    spec.base_model.revision = revision
    spec.data.dataset_sha256 = train_sha256
    spec.data.holdout_sha256 = holdout_sha256
    spec.data.split_method = Data.SPLIT_METHOD_GIVEN
    spec.data.validation_fraction = 0.1
    spec.data.split_seed = 3
    stage = spec.stages.add(technique=Technique.TECHNIQUE_SFT, method=Method.METHOD_LORA)
    values: dict[str, object] = {
        "learning_rate": 3e-3,
        "schedule": Hyperparameters.SCHEDULE_COSINE,
        "warmup_ratio": 0.1,
        "weight_decay": 0.0,
        "max_gradient_norm": 1.0,
        "epoch_count": 2.0,
        "effective_batch_size": 8,
        "max_length": 64,
        "seed": 5,
        "evaluations_per_epoch": 2,
        "early_stopping_patience": 100,
        "assistant_only_loss": True,
        **changes,
    }
    for name, value in values.items():
        setattr(stage.hyperparameters, name, value)
    lora = stage.hyperparameters.lora
    lora.rank, lora.alpha, lora.dropout = 8, 16, 0.0
    lora.target_modules.append("all-linear")
    evaluation = spec.evaluation
    evaluation.graders.append(
        Grader(
            name="exact",
            string_check=StringCheckGrader(
                input="{{sample.output_text}}",
                reference="{{item.reference}}",
                operation=StringCheckGrader.OPERATION_EQ,
            ),
        )
    )
    evaluation.few_shot_example_count = 2
    evaluation.max_answer_tokens = 12
    evaluation.bootstrap_resample_count = 500
    evaluation.confidence = 0.95
    evaluation.general_ability_check = "The harbour lay quiet after the storm."
    spec.serving.target = "shared"
    spec.serving.alias = "tiny"
    return approved(spec)


def a_preference_spec(
    revision: str,
    train_sha256: str,
    holdout_sha256: str,
    *,
    after_sft: bool = False,
    **changes: object,
) -> Spec:
    """Return an approved spec that learns preferences, after demonstrations if that is said."""
    spec = a_spec(revision, train_sha256, holdout_sha256, **changes)
    if after_sft:
        spec.stages.add().CopyFrom(spec.stages[0])
    stage = spec.stages[-1]
    stage.technique = Technique.TECHNIQUE_DPO
    stage.hyperparameters.dpo.beta = 0.1
    return approved(spec)


def approved(spec: Spec) -> Spec:
    """Approve a spec as it is now."""
    spec.ClearField("approval")
    spec.ClearField("hash")
    spec.approval.canonical_spec = b"attune.spec.v1" + spec.SerializeToString(deterministic=True)
    spec.hash = spec.approval.hash = sha256(spec.approval.canonical_spec).hexdigest()
    return spec


def a_placement(size: int = 4, steps: int = 2, *, checkpointing: bool = False) -> StageCompute:
    return StageCompute(
        profile="cpu",
        device_count=1,
        parallel_plan=ParallelPlan(
            micro_batch_size=size,
            gradient_accumulation_steps=steps,
            gradient_checkpointing=checkpointing,
            sharding=ParallelPlan.SHARDING_NONE,
            precision=ParallelPlan.PRECISION_FLOAT32,
        ),
        step_count=10,
    )


def a_lease(spec: Spec, fence: int = 1, job: str = "j1", stage_index: int = 0) -> Lease:
    lease = Lease(
        run=f"projects/default/runs/{job}-s{stage_index}",
        job=f"projects/default/jobs/{job}",
        stage_index=stage_index,
        fence=fence,
        spec=spec,
        placement=a_placement(),
    )
    lease.renew_interval.FromMilliseconds(200)
    return lease


def a_manifest(
    root: Path,
    spec: Spec,
    fence: int = 1,
    placement: StageCompute | None = None,
    job: str = "j1",
    stage_index: int = 0,
    base_adapter_sha256: str = "",
) -> Manifest:
    from google.protobuf.json_format import MessageToDict

    return Manifest(
        run=f"projects/default/runs/{job}-s{stage_index}",
        job=f"projects/default/jobs/{job}",
        stage_index=stage_index,
        fence=fence,
        node="node-test",
        spec_hash=spec.hash,
        spec=MessageToDict(spec, preserving_proto_field_name=True),
        placement=MessageToDict(placement or a_placement(), preserving_proto_field_name=True),
        artefacts=str(root / "artefacts"),
        home=str(root / "home"),
        cpus=(0,),
        threads=1,
        accelerator="cpu",
        base_adapter_sha256=base_adapter_sha256,
    )
