"""The benches of memory and time: odd tables, and the public one where it is at hand."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import memory, memory_rows, runtime, runtime_rows

ROOT = Path(__file__).parents[3]
PUBLIC = os.environ.get("ATTUNE_BENCH_ROWS", "")
"""Folder of the public tables, which are not part of this repository."""
KEYS = {
    "rows",
    "median_abs_error",
    "within_10pct",
    "under_by_5pct",
    "beyond_high",
    "by_source",
    "others",
    "unsupported",
    "high_over_expected",
}
ARCHITECTURE = {
    "model": "some/Llama-3-8B",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_layers": 32,
    "num_heads": 32,
    "num_kv_heads": 8,
    "vocab_size": 128256,
    "gated_mlp": "true",
    "tied_embeddings": "false",
    "params_total": 8030261248,
}
ROW = {
    "source": "somewhere",
    "kind": "measured",
    "model": "Llama-3-8B",
    "technique": "SFT",
    "method": "lora",
    "lora_rank": 16,
    "lora_targets": "q,k,v,o",
    "weight_precision": "bf16",
    "optimizer": "AdamW",
    "seq_len": 4096,
    "micro_batch": 4,
    "grad_checkpointing": "true",
    "loss_kernel": "Liger fused linear CE",
    "gpus": 1,
    "gpu_model": "A100-80GB",
    "mem_metric": "torch alloc",
    "oom": "false",
    "peak_mem_GB_per_gpu": 24.9,
}
SPEED = {
    "source": "somewhere",
    "model": "Llama-3-8B",
    "task": "SFT",
    "method": "lora",
    "seq_len": 4096,
    "gpus": 1,
    "gpu_model": "A100-SXM4-80GB",
    "micro_batch": 4,
    "activation_checkpointing": "true",
    "tokens_per_s_per_gpu": 3800,
}


def write(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "architectures.csv", [ARCHITECTURE])
    return tmp_path


def score(folder, *rows):
    return memory.figures_of(memory_rows.read_rows(write(folder / "rows.csv", rows)))


def test_a_row_is_compared_with_its_prediction(folder):
    figures = score(folder, ROW)
    assert figures.keys() >= KEYS
    assert figures["rows"] == figures["known_configuration"]["rows"] == 1
    assert figures["median_abs_error"] < 0.05
    assert set(figures["others"]) == {"accelerate", "deepspeed", "llama_factory", "textbook"}


def test_empty_cells_are_unknown_and_widen_the_bound(folder):
    bare = {name: ROW[name] for name in ("model", "peak_mem_GB_per_gpu")}
    figures = score(folder, bare | {"method": "lora"})
    assert figures["rows"] == 1
    assert figures["known_configuration"] == {"rows": 0}
    assert figures["high_over_expected"] > score(folder, ROW)["high_over_expected"]


@pytest.mark.parametrize(
    "changes",
    [
        {"technique": "pretraining"},
        {"technique": "SFT loss only"},
        {"method": "ia3"},
        {"method": ""},
        {"model": "nobody/knows"},
        {"mem_metric": "capacity bound (max context)"},
    ],
)
def test_what_is_not_offered_is_counted_apart(folder, changes):
    figures = score(folder, ROW | changes)
    assert (figures["rows"], figures["unsupported"]) == (0, 1)
    assert sum(figures["unsupported_by_reason"].values()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"technique": "DPO"},
        {"technique": "GRPO"},
        {"technique": "reward model"},
        {"method": "full", "sharding": "FSDP", "gpus": 4},
        {"method": "full", "sharding": "ZeRO-2", "gpus": 4},
        {"method": "qlora(gptq)", "weight_precision": "gptq-int4"},
        {"method": "lora(dora)", "attention": "eager"},
        {"method": "qlora", "offload": "params to CPU", "sharding": "FSDP", "gpus": 2},
        {"method": "full", "optimizer": "bnb.PagedAdamW", "weight_precision": "fp32"},
        {"gpus": "", "seq_len": "nan", "micro_batch": "-3", "lora_rank": "many"},
        {"loss_kernel": "chunked CE", "mem_metric": "peak reserved"},
        {"mem_metric": "nvidia-smi", "source": "github.com/Lightning-AI/litgpt"},
    ],
)
def test_every_configuration_gets_a_prediction(folder, changes):
    assert score(folder, ROW | changes)["rows"] == 1


def test_estimates_of_publishers_are_no_measurements(folder):
    figures = score(folder, ROW | {"kind": "ESTIMATE"})
    assert (figures["rows"], figures["estimates_of_publishers"]) == (0, 1)


def test_rows_that_did_not_fit_count_in_the_confusion_only(folder):
    write(folder / "gpus.csv", [{"gpu": "A100-80GB SXM", "memory_gb": 80}])
    refused = {"oom": "true", "peak_mem_GB_per_gpu": "", "micro_batch": 256}
    figures = score(folder, ROW, ROW | refused)
    assert figures["rows"] == 1
    assert figures["fit"] == {"fits_fits": 1, "fits_oom": 0, "oom_fits": 0, "oom_oom": 1}


def test_an_empty_table_has_no_errors(folder):
    path = write(folder / "rows.csv", [ROW])
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert memory.figures_of(memory_rows.read_rows(path))["rows"] == 0
    assert runtime.figures_of(runtime_rows.read_rows(path))["rows"] == 0


def test_speed_is_compared_with_its_prediction(folder):
    rows = [SPEED, SPEED | {"task": "pretraining"}, SPEED | {"gpu_model": "abacus"}]
    rows += [SPEED | {"precision": "float8"}, SPEED | {"activation_checkpointing": ""}]
    figures = runtime.figures_of(runtime_rows.read_rows(write(folder / "rows.csv", rows)))
    assert figures.keys() >= KEYS
    assert (figures["rows"], figures["unsupported"]) == (2, 3)
    assert figures["known_configuration"]["rows"] == 1
    assert figures["median_abs_error"] < 0.2


@pytest.mark.parametrize("name", ["memory", "runtime"])
def test_a_bench_writes_what_it_is_told_to(folder, name):
    rows, target = write(folder / "rows.csv", [ROW | SPEED]), folder / "figures.json"
    command = [sys.executable, "-m", f"bench.{name}", "--rows", rows, "--json", target]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    assert json.loads(target.read_text())["rows"] == 1
    missing = subprocess.run(
        [*command[:4], folder / "none.csv"], cwd=ROOT, check=False, capture_output=True, timeout=60
    )
    assert missing.returncode != 0
    assert b"There is no" in missing.stderr
    idle = subprocess.run(command[:3], cwd=ROOT, check=True, capture_output=True, timeout=60)
    assert b"pass --rows" in idle.stdout


@pytest.mark.skipif(not PUBLIC, reason="ATTUNE_BENCH_ROWS names no folder of public measurements")
def test_public_measurements_are_met():
    rows = memory_rows.read_rows(Path(PUBLIC) / "peak_memory.csv")
    figures = memory.figures_of(rows)
    assert figures["median_abs_error"] <= 0.08
    assert figures["held_out_known"]["median_abs_error"] <= 0.03
    assert figures["high_over_expected"] <= 1.15
    best = min(each["median_abs_error"] for each in figures["others"].values())
    assert figures["median_abs_error"] < best
    speeds = runtime_rows.read_rows(Path(PUBLIC) / "throughput.csv")
    assert runtime.figures_of(speeds)["median_abs_error"] <= 0.2
