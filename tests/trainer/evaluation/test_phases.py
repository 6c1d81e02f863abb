"""BASELINE to REGISTER with a real tiny model, and what they leave behind."""

import asyncio
import json
from pathlib import Path

import pytest
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from attune.spec.v1.grader_pb2 import Grader, JsonSchemaGrader
from attune.spec.v1.spec_pb2 import SuccessCriterion
from google.protobuf.json_format import ParseDict

from services.common.artefacts import Artefacts, read_manifest
from services.trainer.attempt import LOG, MESSAGES, SAMPLES, Attempt
from services.trainer.evaluation.answers import ANSWERS
from services.trainer.run import ExitCode, Phase
from services.trainer.runtime.run_context import RunContext
from services.trainer.runtime.stopping import Signals
from tests.trainer import tiny

pytestmark = pytest.mark.system

TIMEOUT_S = 120.0
KINDS = {"colour": ("red", "green", "blue"), "animal": ("cat", "dog", "bird")}
FILLERS = tiny.WORDS.split()[6:]


def labelled(index: int, start: int) -> dict[str, object]:
    """Return a row that asks of which kind a word is, like no other row."""
    kind = tuple(KINDS)[index % 2]
    prompt = f"{index} {FILLERS[(start + index) % len(FILLERS)]} {KINDS[kind][index % 3]}"
    return {
        "messages": [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": kind},
        ]
    }


def a_spec(artefacts: Artefacts, revision: str):
    """Return a spec that macro-F1 decides and two graders look at."""
    train = tiny.put_rows(artefacts, [labelled(index, 0) for index in range(60)])
    # Three of the held-out prompts are also taught.
    held = [labelled(index, 5) for index in range(100, 124)] + [labelled(i, 0) for i in range(3)]
    spec = tiny.a_spec(
        revision, train, tiny.put_rows(artefacts, held), epoch_count=15.0, learning_rate=1e-2
    )
    first = spec.objective.success_criteria[0]
    first.aggregate, first.target = SuccessCriterion.AGGREGATE_MACRO_F1, 0.7
    spec.evaluation.graders.append(Grader(name="is_json", json_schema=JsonSchemaGrader()))
    spec.base_model.licence = "Apache-2.0"
    return spec


@pytest.fixture(scope="module")
def run(tmp_path_factory, forks, saved_model):
    """One run through all phases; its attempt and its spec."""
    root = tmp_path_factory.mktemp("run")
    artefacts = Artefacts(root / "artefacts")
    spec = a_spec(artefacts, tiny.put_model(artefacts, saved_model))
    manifest = tiny.a_manifest(root, spec)
    attempt = Attempt.create(artefacts.attempt(manifest.run_id, 1), manifest)

    async def execute():
        handle = await forks.start_run(attempt.folder)
        return await asyncio.wait_for(handle.wait(), TIMEOUT_S)

    code = asyncio.run(execute())
    assert code == ExitCode.SUCCEEDED, (attempt.folder / LOG).read_text()
    return attempt, spec


@pytest.fixture(scope="module")
def report(run):
    return ParseDict(run[0].result(Phase.EVALUATE)["report"], EvaluationReport())


@pytest.fixture(scope="module")
def adapter(run) -> Path:
    attempt, _ = run
    root = Artefacts(attempt.folder.parents[2])
    return root.adapter(attempt.result(Phase.REGISTER)["adapter_sha256"])


def test_macro_f1_decides_with_an_interval_of_its_own(report):
    assert (report.grader, report.aggregate, report.confidence) == ("exact", "macro_f1", 0.95)
    assert report.verdict == EvaluationReport.VERDICT_BETTER
    assert report.tuned_score == pytest.approx(report.criteria[0].tuned_score)
    assert report.tuned_score > report.base_score == 0.0
    assert report.tuned_interval.low <= report.tuned_score <= report.tuned_interval.high
    assert report.difference == pytest.approx(report.tuned_score - report.base_score)
    assert 0 < report.interval_low <= report.difference <= report.interval_high
    reached = "reached" if report.criteria[0].met else "not reached"
    assert f"The target of 0.700 is {reached}." in report.verdict_reasons


def test_known_prompts_are_left_out_of_every_figure(report):
    leaked = report.leakage
    assert (leaked.equal_row_count, leaked.excluded) == (3, True)
    assert report.holdout_row_count == 24
    assert {one.paired_row_count for one in report.graders} == {24}


def test_every_grader_is_told_with_its_test(report, run):
    exact, is_json = report.graders
    assert (exact.grader, is_json.grader) == ("exact", "is_json")
    assert exact.gained_count - exact.lost_count == round(24 * exact.difference.value)
    assert exact.p_value < 0.01
    assert (is_json.tuned.value, is_json.p_value, is_json.ungraded_count) == (0.0, 1.0, 0)
    samples, _ = run[0].lines(SAMPLES, 0)
    assert len(samples) == 24
    assert {one["tuned_score.is_json"] for one in samples} == {0.0}
    right = sum(one["tuned_score"] for one in samples) / 24
    assert right == pytest.approx(exact.tuned.value)


def test_slices_confusion_and_changes_are_those_of_the_rows(report):
    labels = {one.value: one for one in report.slices if one.dimension == "label"}
    assert {name: one.row_count for name, one in labels.items()} == {"colour": 12, "animal": 12}
    assert list(report.confusion.labels) == ["colour", "animal"]
    assert sum(report.confusion.counts) == 24
    diagonal = report.confusion.counts[0] + report.confusion.counts[4]
    assert diagonal == round(24 * report.graders[0].tuned.value)
    assert all(one.tuned_score > one.base_score for one in report.gains)
    assert len(report.gains) == min(8, report.graders[0].gained_count)


def test_general_ability_and_learning_by_heart_are_measured(report):
    ability = report.general_ability
    assert ability.question_count == 40
    assert ability.base_loss > 0
    assert ability.tuned_loss != ability.base_loss
    assert not ability.is_lost  # A random base has nothing to lose.
    assert report.overfit.training_row_count == 50
    assert 0 <= report.overfit.training_score <= 1


def test_the_page_and_the_card_lie_beside_the_weights_and_say_the_same(report, adapter, run):
    _, spec = run
    assert read_manifest(adapter)["dataset_sha256"] == spec.data.dataset_sha256
    page, card = (adapter / "report.md").read_text(), (adapter / "README.md").read_text()
    for text in (page, card):
        assert f"{report.tuned_score:.3f}" in text
        assert spec.base_model.revision[:12] in text
    assert page.replace("\\", "").count("chosen") == 0  # That stands in the chart alone.
    html = (adapter / "report.html").read_text()
    assert html.count("<svg") == 3
    assert "chosen: step" in html
    assert 'license: "apache-2.0"' in card
    assert f"{report.holdout_row_count} held-out rows" in card


def test_lineage_names_all_that_the_weights_come_from(adapter, run):
    attempt, spec = run
    made = json.loads((adapter / "lineage.json").read_text())
    assert made["spec"]["sha256"] == spec.hash
    assert made["data"]["dataset_sha256"] == spec.data.dataset_sha256
    assert made["base_model"] == {
        "id": tiny.MODEL, "revision": spec.base_model.revision, "licence": "Apache-2.0"
    }  # fmt: skip
    assert made["seeds"] == {"training": 5, "split": 3, "evaluation": 0}
    assert made["hyperparameters"]["learning_rate"] == 1e-2
    assert made["attempts"] == [{"fence": 1, "node": "node-test"}]
    assert set(made["libraries"].values()) & {"", "unknown"} == set()
    assert made == attempt.result(Phase.EVALUATE)["lineage"]
    assert str(attempt.folder.parents[2]) not in json.dumps(made)


def test_only_safetensors_and_text_are_published(adapter):
    assert {path.suffix for path in adapter.iterdir()} == {
        ".safetensors", ".json", ".jsonl", ".md", ".html"
    }  # fmt: skip


def test_a_run_says_its_verdict_in_words(run, report):
    said = [line["text"] for line in run[0].lines(MESSAGES, 0)[0]]
    assert said.count(report.verdict_reasons[0]) == 1
    assert any("3 of 27 held-out prompts are also training prompts" in text for text in said)


def test_a_next_attempt_takes_over_answers_and_registers_the_same_bytes(run, adapter, monkeypatch):
    """Killed after EVALUATE and REGISTER, before their results were written."""
    from services.trainer.evaluation import tuned
    from services.trainer.phases.register import register
    from services.trainer.recipes.generation import Generator

    first, _ = run
    manifest = first.manifest()
    root = Artefacts(Path(manifest.artefacts))
    base, trained = first.result(Phase.BASELINE), first.result(Phase.TRAIN)
    chosen = root.run(manifest.run_id) / trained["best"]
    second = Attempt.create(root.attempt(manifest.run_id, 2), manifest)
    context = RunContext(second, manifest, Signals(), lambda: None)
    again = register(context, chosen, first.result(Phase.EVALUATE))
    assert again["adapter_sha256"] == adapter.name

    monkeypatch.setattr(
        Generator, "answer", lambda *_: pytest.fail("an answer was made a second time")
    )
    second.write_result(Phase.TRAIN, trained)
    assert tuned.evaluate(context, chosen, base)["report"] == first.result(Phase.EVALUATE)["report"]
    assert second.lines(ANSWERS, 0)[0] == []
