"""A tiny model that knows two ways to answer, and prompts that reward one of them."""

from hashlib import sha256
from pathlib import Path

from attune.spec.v1.compute_pb2 import StageCompute
from attune.spec.v1.grader_pb2 import Grader, StringCheckGrader
from attune.spec.v1.spec_pb2 import Spec
from attune.spec.v1.stage_pb2 import Technique

from tests.trainer import tiny

VALUES = ("red", "cat", "two", "please")
KINDS = ("colour", "animal", "number", "blue", "bird", "three")
LONG_OF_FIVE = 3
"""Of five answers that the model learns, so many name the kind too: it says that when it must
choose one, and the short answer now and then when it is sampled."""
STEPS, BATCH = 120, 40
PROMPTS = 4
GROUP = 8


def a_prompt(kind: str, value: str) -> dict[str, object]:
    """Return a row whose right answer is the value alone."""
    asked = {"role": "user", "content": f"say the {kind} {value}"}
    return {"messages": [asked], "reference": value}


def prompts(held_out: bool) -> list[dict[str, object]]:
    """Return the prompts that are taught, or those that are not."""
    pairs = [(kind, value) for kind in KINDS for value in VALUES]
    return [a_prompt(*pair) for index, pair in enumerate(pairs) if (index % 4 == 3) == held_out]


def demonstrations(held_out: bool) -> list[dict[str, object]]:
    """Return those prompts with their right answers."""
    return [
        {"messages": [*row["messages"], {"role": "assistant", "content": row["reference"]}]}
        for row in prompts(held_out)
    ]


def save_model(folder: Path) -> None:
    """Write a tiny model that answers each prompt in the long way or the short one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny.save_model(folder)
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    rows = [
        (a_prompt(kind, value)["messages"], f"{kind} {value}" if turn < LONG_OF_FIVE else value)
        for kind in KINDS
        for value in VALUES
        for turn in range(5)
    ]
    texts = [
        tokenizer.apply_chat_template(
            [*asked, {"role": "assistant", "content": said}], tokenize=False
        )
        for asked, said in rows
    ]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    asked = [
        tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
        for asked, _ in rows
    ]
    for index, token_ids in enumerate(asked):
        labels[index, : len(token_ids)] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    torch.manual_seed(1)
    for _ in range(STEPS):
        chosen = torch.randperm(len(rows))[:BATCH]
        loss = model(
            input_ids=batch["input_ids"][chosen],
            attention_mask=batch["attention_mask"][chosen],
            labels=labels[chosen],
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)


def equals_reference() -> Grader:
    """Return the grader that wants the reference and nothing else."""
    check = StringCheckGrader(input="{{sample.output_text}}", reference="{{item.reference}}")
    check.operation = StringCheckGrader.OPERATION_EQ
    return Grader(name="exact", string_check=check)


def a_spec(
    revision: str,
    train_sha256: str,
    holdout_sha256: str,
    *graders: Grader,
    technique: Technique.ValueType = Technique.TECHNIQUE_RLVR,
    **changes: object,
) -> Spec:
    """Return an approved spec of one stage of reinforcement; `changes` are hyperparameters."""
    values = {"learning_rate": 4e-3, "effective_batch_size": PROMPTS, "epoch_count": 3.0}
    values |= {"evaluations_per_epoch": 1, "schedule": 3, **changes}
    rl = {name: values.pop(name) for name in list(values) if name in RL}
    spec = tiny.a_spec(revision, train_sha256, holdout_sha256, **values)
    (stage,) = spec.stages
    stage.technique = technique
    for name, value in {**RL, **rl}.items():
        setattr(stage.hyperparameters.rl, name, value)
    for grader in graders or (equals_reference(),):
        stage.reward.graders.add(grader=grader, weight=1 / max(1, len(graders)))
    spec.approval.canonical_spec = b"attune.spec.v1" + spec.SerializeToString(deterministic=True)
    spec.hash = spec.approval.hash = sha256(spec.approval.canonical_spec).hexdigest()
    return spec


def a_chain_spec(revision: str, train_sha256: str, holdout_sha256: str, **changes: object) -> Spec:
    """Return an approved spec of SFT, then RLVR on its adapter; `changes` are of the second."""
    spec = a_spec(revision, train_sha256, holdout_sha256, **changes)
    first = tiny.a_spec(revision, "0", "0", learning_rate=1e-3, epoch_count=1.0).stages[0]
    reinforced = spec.stages.pop()
    spec.stages.extend([first, reinforced])
    spec.approval.canonical_spec = b"attune.spec.v1" + spec.SerializeToString(deterministic=True)
    spec.hash = spec.approval.hash = sha256(spec.approval.canonical_spec).hexdigest()
    return spec


RL: dict[str, object] = {
    "group_size": GROUP,
    "temperature": 1.0,
    "top_p": 1.0,
    "kl_coefficient": 0.0,
    "clip_low": 0.2,
    "clip_high": 0.28,
    "max_prompt_length": 32,
    "max_completion_length": 8,
    "loss_type": "dapo",
}


def a_placement() -> StageCompute:
    """Return a placement of whole groups in two micro-batches."""
    return tiny.a_placement(PROMPTS * GROUP // 2, 2)
