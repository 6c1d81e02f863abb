"""Rows that share a sequence are learnt exactly as if each stood alone."""

from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.recipes.training import IGNORED
from services.trainer.run import RunFailed
from tests.trainer import stages


@given(st.lists(st.integers(1, 64), min_size=1, max_size=40))
def test_every_row_has_one_place_and_no_sequence_is_too_long(lengths):
    from services.trainer.recipes.packing import bins

    found = bins(lengths, 64)
    assert sorted(chain.from_iterable(found)) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in one) <= 64 for one in found)
    # Two sequences that fit together would have been one.
    sizes = sorted(sum(lengths[index] for index in one) for one in found)
    assert len(sizes) < 2 or sizes[0] + sizes[1] > 64


def test_a_packed_sequence_says_where_rows_begin():
    from services.trainer.recipes.packing import Packer

    rows = [{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}, {"input_ids": [8, 9], "labels": [8, 9]}]
    batch = Packer(max_length=6, pad_id=1)([*rows, {"input_ids": [4] * 6, "labels": [4] * 6}])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 1], [4] * 6]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]]
    # No row learns to foretell the first token of the next one.
    assert batch["labels"][0].tolist() == [IGNORED, 6, 7, IGNORED, 9, IGNORED]
    assert set(batch) == {"input_ids", "labels", "position_ids"}


def grown(model, batch):
    """Return the summed loss of a batch and its gradient, flat."""
    import torch
    from torch.nn.functional import cross_entropy

    model.zero_grad()
    labels = batch.pop("labels")
    logits = model(**batch, use_cache=False).logits
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
    loss.backward()
    return loss.item(), torch.cat([one.grad.flatten() for one in model.parameters()])


def test_loss_and_gradient_of_packed_rows_are_those_of_rows_apart(saved_model):
    import torch

    from services.trainer.recipes.model import load_base
    from services.trainer.recipes.packing import Packer

    model = load_base(saved_model, torch.float32)
    torch.manual_seed(1)
    rows = [torch.randint(3, 300, (count,)).tolist() for count in (5, 17, 9, 3, 24)]
    packed = Packer(30, 0)([{"input_ids": row, "labels": row} for row in rows])
    assert packed["input_ids"].shape[0] == 2
    loss, gradient = grown(model, packed)
    alone = [
        grown(model, {k: torch.tensor([row]) for k in ("input_ids", "labels")}) for row in rows
    ]
    assert loss == pytest.approx(sum(one for one, _ in alone), rel=1e-6)
    expected = sum(one for _, one in alone)
    assert (gradient - expected).abs().max() < 1e-5 * expected.abs().max()


def test_packed_training_takes_the_same_steps_and_ends_at_the_same_weights(saved_model, tmp_path):
    apart = stages.a_training(saved_model, tmp_path)
    together = stages.a_training(saved_model, tmp_path, packing=True)
    one = stages.train(apart, tmp_path / "apart")
    other = stages.train(together, tmp_path / "together")
    assert other.resolved == one.resolved
    assert other.losses == pytest.approx(one.losses, rel=1e-4)
    weights, packed = stages.tensors(one.newest), stages.tensors(other.newest)
    assert max((weights[name] - packed[name]).abs().max() for name in weights) < 1e-3


def test_a_model_whose_rows_would_see_each_other_is_refused(saved_model, tmp_path):
    import torch
    from transformers import BloomConfig, BloomForCausalLM, MambaConfig, MambaForCausalLM

    from services.trainer.recipes.model import load_base
    from services.trainer.recipes.packing import check_boundaries

    check_boundaries(load_base(saved_model, torch.float32))
    small = {"vocab_size": 64, "hidden_size": 32, "pad_token_id": 0, "eos_token_id": 1}
    bloom = BloomForCausalLM(BloomConfig(**small, bos_token_id=1, n_layer=1, n_head=2))
    mamba = MambaForCausalLM(MambaConfig(**small, bos_token_id=1, num_hidden_layers=1))
    for model in (bloom, mamba):
        with pytest.raises(RunFailed, match="see each other"):
            check_boundaries(model)


def test_rows_of_the_greatest_length_still_fit(saved_model, tmp_path):
    longest = max(len(one.token_ids) for one in stages.a_training(saved_model, tmp_path).train)
    tight = stages.a_training(saved_model, tmp_path, packing=True, max_length=longest)
    heard = stages.train(replace(tight, steps_total=2), tmp_path / "kept")
    assert len(heard.losses) == 2
