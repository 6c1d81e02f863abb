"""The report as a whole: shapes, figures, tokens, samples, and the corpus of bad files."""

import json
import os
from pathlib import Path

import pytest

from bench.bad_files import judge
from bench.bad_files import report_of as report_of_case
from services.planner.dataset import report as reports
from services.planner.dataset import report_structure
from services.planner.dataset.file import FileFormat
from services.planner.dataset.findings import CODES, page
from services.planner.dataset.report import (
    Others,
    Sample,
    TokenCount,
    build_report,
    choose_sample,
    is_valid,
    read_sample,
)
from tests.planner.dataset.reported import (
    chat,
    chats,
    found_in,
    lines,
    pairs,
    report_of,
    structure_of,
)

CORPUS = Path(os.environ.get("ATTUNE_BAD_FILES", "no corpus of bad files is named"))
"""Folder of faulty uploads with a manifest; not part of the project."""
SHAPES = {
    "chat": chats(),
    "prompt_completion": pairs(),
    "preference": pairs("prompt", "chosen", rejected="No."),
    "ratings": pairs("question", "answer", thumb="up"),
    "prompts_with_reference": pairs("prompt", "ground_truth"),
    "prompts_only": [{"prompt": row["prompt"]} for row in pairs()],
    "text": [{"text": row["prompt"]} for row in pairs()],
    "unknown": [{"x": number} for number in range(12)],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_is_told_by_the_keys(tmp_path, shape):
    report = report_of(tmp_path, lines(SHAPES[shape]))
    assert report.format == shape
    assert is_valid(report) == (shape != "unknown")


@pytest.mark.parametrize(
    ("prompt", "answer"), [("question", "answer"), ("input", "output"), ("instruction", "response")]
)
def test_other_names_of_prompts_and_answers_are_known(tmp_path, prompt, answer):
    report = report_of(tmp_path, lines(pairs(prompt, answer)))
    assert (report.format, found_in(report)) == ("prompt_completion", [])


def test_a_first_row_with_a_part_missing_does_not_decide_the_shape(tmp_path):
    rows = pairs("prompt", "chosen", rejected="No.")
    del rows[0]["rejected"]
    report = report_of(tmp_path, lines(rows))
    assert found_in(report) == [(1, "missing_rejected", "rejected")]


def test_rows_of_two_shapes_are_mixed(tmp_path):
    report = report_of(tmp_path, lines([*chats(), {"text": "a"}]))
    assert (report.format, report.row_count, report.valid_row_count) == ("mixed", 13, 12)


def test_figures_are_those_of_the_rows(tmp_path):
    rows = [chat(f"Which team for the {n * 41}th ticket?", '{"team": 1}') for n in range(30)]
    rows += [chat("Who?", "Nobody knows."), chat("Who?", "Nobody knows.")]
    report = report_of(tmp_path, lines(rows))
    assert report.distinct_answer_count == 2
    assert report.majority_answer_share == pytest.approx(30 / 32)
    assert report.json_answer_share == pytest.approx(30 / 32)
    assert report.duplicate_row_count == 1
    assert found_in(report)[-1] == (32, "duplicate_row", "")
    assert [each.percentile for each in report.token_percentiles] == [5, 25, 50, 75, 95, 99, 100]
    assert report.token_percentiles[-1].count == report.max_token_count
    assert report.tokenizer_model == ""
    assert report.sampled_row_count == 32
    assert report.sample_rows


def test_counted_tokens_go_before_estimates(tmp_path):
    structure = structure_of(tmp_path, lines(chats()))
    path, sample = tmp_path / "x.jsonl", Sample()
    for view, _ in read_sample(path, FileFormat("jsonl"), structure):
        sample.views.append(view)
        sample.counts[view.line] = TokenCount(100 + view.line, 60, 40 + view.line)
    sample.counts[5] = TokenCount(5000, 4990, 10)
    sample.counts[6] = TokenCount(5000, 10, 4990)
    report = build_report(structure, sample, Others(), "attune/starter")
    assert report.tokenizer_model == "attune/starter"
    assert (report.median_token_count, report.max_token_count) == (108, 5000)
    assert report.mean_prompt_token_count == pytest.approx((60 * 10 + 4990 + 10) / 12)
    assert found_in(report) == [(5, "answer_truncated", ""), (6, "row_too_long", "")]


def test_of_many_rows_a_seeded_sample_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "SAMPLE_ROWS_MAX", 20)
    content = lines(chats(60))
    structure = structure_of(tmp_path, content)
    chosen = choose_sample(structure)
    assert len(chosen) == 20
    assert choose_sample(structure) == chosen
    report = report_of(tmp_path, content)
    assert (report.sampled_row_count, report.valid_row_count) == (20, 60)


def test_findings_are_kept_to_a_bound_and_counted_beyond(tmp_path, monkeypatch):
    monkeypatch.setattr(report_structure, "FINDINGS_MAX", 5)
    monkeypatch.setattr(reports, "FINDINGS_MAX", 5)
    report = report_of(tmp_path, lines([*chats(), *[b"{}"] * 20, chats()[0]]))
    assert [each[0] for each in found_in(report)] == [13, 14, 15, 16, 17]
    counts = {each.code: each.count for each in report.finding_counts}
    assert counts == {"unknown_shape": 20, "duplicate_row": 1}


def test_every_code_is_on_the_page_with_a_remedy():
    text = page()
    for code, known in CODES.items():
        assert f"| `{code}` |" in text
        assert known.remedy.endswith(".")


@pytest.mark.skipif(not CORPUS.exists(), reason="ATTUNE_BAD_FILES names no folder")
def test_every_planted_fault_of_the_corpus_is_found_on_its_line():
    fair = json.loads((CORPUS / "codes.json").read_text())
    for text in (CORPUS / "expected.jsonl").read_text().splitlines():
        case = json.loads(text)
        other = case.get("compare_with")
        found = report_of_case(CORPUS / case["file"], CORPUS / other if other else None)
        judged = judge(case, found, fair)
        assert (case["file"], judged["missed"], judged["beyond"]) == (case["file"], [], [])
        assert judged["valid"] == case["valid"]


def test_what_a_finding_quotes_is_masked(tmp_path):
    report = report_of(tmp_path, lines([*chats(), "write to ada@example.com"]))
    assert report.findings[0].code == "row_not_object"
    assert "ada@" not in report.findings[0].message
