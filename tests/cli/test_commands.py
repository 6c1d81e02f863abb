"""Each command against canned services, over real gRPC."""

import json

import pytest
from attune.scheduler.v1 import scheduler_pb2

from tests.cli.canned import HASH, JOB, SPEC, VERSION, a_job, a_spec
from tests.cli.canned_datasets import DATASET


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"messages": []}\n' * 3)
    return path


def test_a_dataset_is_uploaded_after_the_one_that_is_held_out(attune, services, rows, tmp_path):
    (tmp_path / "holdout.jsonl").write_text("{}\n")
    result = attune("dataset", "upload", rows, "--holdout", tmp_path / "holdout.jsonl")
    assert result.code == 0
    assert "3 in the format chat" in result.out
    assert "Next:  attune ask" in result.out
    (held_out, _), (header, content) = services.uploads
    assert held_out.display_name == "holdout.jsonl"
    assert header.holdout_dataset == DATASET
    assert content == rows.read_bytes()


def test_a_large_file_arrives_whole_in_chunks(attune, services, tmp_path):
    path = tmp_path / "large.jsonl"
    path.write_bytes(b"x" * (2 * 1024 * 1024 + 17))
    assert attune("dataset", "upload", path).code == 0
    assert services.uploads[0][1] == path.read_bytes()


def test_a_file_with_errors_is_shown_by_code_with_lines_and_ends_with_1(attune, services, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"role": "bad"}\n' * 2 + "{}\n" + '{"role": "bad"}\n' * 20)
    result = attune("dataset", "upload", path, "--corrects", "d1", "--format", "jsonl")
    assert result.code == 1
    assert "error  unknown_role  22 times, lines 1, 2, 4, 5" in result.out
    assert "and 12 more" in result.out
    assert "messages[0].role: 'bad' is no role." in result.out
    assert "Use one of the four." in result.out
    assert f"upload {path} --corrects datasets/d1" in result.out
    assert services.uploads[0][0].previous_dataset == DATASET
    shown = attune("dataset", "show", "d1", "--findings")
    assert (shown.code, shown.out.count("unknown_role")) == (0, 22)
    as_json = attune("dataset", "upload", path, "--json")
    assert as_json.code == 1
    assert len(json.loads(as_json.out)["report"]["findings"]) == 22


def test_a_report_is_shown_readably(attune, services, rows):
    out = attune("dataset", "upload", rows).out
    for words in ("median 20", "en 100.0 %", "SFT", "thin", "3 rows, 50 are a start.", "ready"):
        assert words in out


def test_rows_are_previewed_with_what_is_learnt_marked(attune, services):
    out = attune("dataset", "preview", "d1", "--line", "7").out
    assert "line 7: 2 tokens, 1 learnt, 3 more are cut off" in out
    assert "Hi\u00ab there\u00bb" in out
    assert json.loads(attune("dataset", "preview", "d1", "--json").out)["rows"][0]["line"] == "1"


def test_a_dataset_is_deleted(attune, services):
    assert "datasets/d1 is gone" in attune("dataset", "delete", "d1").out
    assert json.loads(attune("dataset", "delete", "d1", "--json").out) == {}


@pytest.mark.parametrize(
    ("name", "words"), [("none.jsonl", "does not exist"), (".", "is a folder")]
)
def test_a_file_that_cannot_be_read_is_refused_before_anything_is_sent(
    attune, services, tmp_path, name, words, rows
):
    result = attune("dataset", "upload", rows, "--holdout", tmp_path / name)
    assert result.code == 1
    assert words in result.err
    assert services.uploads == []


def test_a_dataset_is_shown_by_its_short_name(attune, services):
    assert "train.jsonl" in attune("dataset", "show", "d1").out
    refused = attune("dataset", "show", "d9")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "There is no dataset" in refused.err


def test_a_list_has_every_page(attune, services):
    found = json.loads(attune("dataset", "list", "--json").out)
    assert [one["name"][-2:] for one in found["datasets"]] == ["d0", "d1", "d2"]
    assert "datasets/d2" in attune("dataset", "list").out


def test_ask_shows_the_reply_the_question_and_how_to_answer(attune, services):
    result = attune("ask", "Route tickets", "--dataset", "d1")
    assert "How good must it be? It decides when to stop." in result.out
    assert result.out.count("It decides when to stop.") == 1
    assert "--conversation conversations/c1" in result.out
    sent = services.asked[1]
    assert (sent.message, list(sent.datasets)) == ("Route tickets", [DATASET])


def test_ask_goes_on_with_a_conversation_up_to_a_plan(attune, services):
    result = attune("ask", "80 percent", "--conversation", "conversations/c1")
    assert "attune spec approve specs/s1" in result.out
    assert type(services.asked[0]).__name__ == "SendMessageRequest"


def test_ask_as_json_is_the_conversation_alone(attune, services):
    talked = json.loads(attune("ask", "80 percent", "--json").out)
    assert talked["spec"] == SPEC
    assert talked["turns"][0]["reply"] == "Here is a plan."


def test_ask_shows_what_the_reply_has_not_told(attune, services):
    out = attune("ask", "80 percent", "--conversation", "c1").out
    assert "Names are in the rows. (pii)" in out
    assert "(said)" not in out
    assert "unset \u2192 tickets" in out
    assert "You said so." in out


def test_conversations_are_listed_and_shown(attune, services):
    out = attune("conversation", "list").out
    assert "conversations/c1" in out
    assert "specs/s1" in out
    listed = json.loads(attune("conversation", "list", "--json").out)
    assert listed["conversations"][0]["spec"] == SPEC
    attune("ask", "80 percent", "--conversation", "c1")
    services.asked.append(services.asked[-2])
    out = attune("conversation", "show", "c1").out
    assert "Attune: Here is a plan." in out
    assert "attune spec show specs/s1" in out


def test_a_plan_is_proposed_in_one_call(attune, services):
    out = attune("spec", "propose", "--dataset", "d1", "--objective", "Route tickets").out
    sent = services.asked[-1]
    assert (list(sent.datasets), sent.objective) == ([DATASET], "Route tickets")
    assert f"attune spec approve specs/s1 --hash {HASH}" in out
    proposed = json.loads(attune("spec", "propose", "--dataset", "d1", "--json").out)
    assert proposed["name"] == SPEC
    refused = attune("spec", "propose")
    assert (refused.code, "--dataset" in refused.err) == (2, True)


def test_plans_and_their_revisions_are_listed(attune, services):
    assert "specs/s1" in attune("spec", "list").out
    assert json.loads(attune("spec", "list", "--json").out)["specs"][0]["name"] == SPEC
    lines = attune("spec", "revisions", "s1").out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["2", "1"]
    assert len(json.loads(attune("spec", "revisions", "s1", "--json").out)["specs"]) == 2


def test_two_revisions_are_compared(attune, services):
    out = attune("spec", "diff", "s1", "--from", "1", "--to", "2").out
    assert (services.asked[-1].from_revision, services.asked[-1].to_revision) == (1, 2)
    assert "a \u2192 b" in out
    assert "You decided it." in out
    assert "decide the same" in attune("spec", "diff", "s1", "--to", "3").out
    assert json.loads(attune("spec", "diff", "s1", "--json").out)["changes"]


def test_an_earlier_revision_comes_back(attune, services):
    out = attune("spec", "restore", "s1", "1").out
    sent = services.asked[-1]
    assert (sent.revision, sent.etag) == (1, a_spec().etag)
    assert "Revision 3 of specs/s1 is revision 1 again." in out
    assert json.loads(attune("spec", "restore", "s1", "1", "--json").out)["hash"] == HASH


def test_a_finished_job_suggests_a_change_with_its_command(attune, services):
    out = attune("spec", "suggest", "j1").out
    assert "Train for 2 epochs. (overfit)" in out
    assert "Validation loss was lowest at step 40." in out
    assert "attune spec set specs/s1 stages.0.hyperparameters.epoch_count 2" in out
    assert "speaks for a change" in attune("spec", "suggest", "j2").out
    found = json.loads(attune("spec", "suggest", "j1", "--json").out)
    assert found["suggestions"][0]["code"] == "overfit"


def test_recipes_are_listed_with_their_sources(attune, services):
    out = attune("recipe", "list").out
    assert "arXiv" in out
    assert "recipe-1" in out
    only = json.loads(attune("recipe", "list", "--technique", "DPO", "--json").out)
    assert [one["id"] for one in only["recipes"]] == ["recipe-2"]
    assert "no recipe for 'x'" in attune("recipe", "list", "--technique", "x").out


def test_base_models_are_listed_with_size_and_languages(attune, services):
    out = attune("model", "bases").out
    assert "30 B (3 B active)" in out
    assert "and 1 more" in out
    assert "asks for access" in out
    assert json.loads(attune("model", "bases", "--json").out)["models"][0]["id"] == "org/experts"


def test_a_plan_is_shown_with_the_hash_to_approve(attune, services):
    result = attune("spec", "show", "s1", "--revision", "3")
    assert f"attune spec approve specs/s1 --hash {HASH}" in result.out
    assert services.asked[0].revision == 3
    assert json.loads(attune("spec", "show", SPEC, "--json").out)["hash"] == HASH


def test_approving_by_hash_names_the_job(attune, services):
    result = attune("spec", "approve", "specs/s1", "--hash", HASH)
    assert "attune job watch jobs/j1" in result.out
    assert services.approved


def test_a_stale_hash_is_refused_with_what_changed(attune, services):
    result = attune("spec", "approve", "s1", "--hash", "c" * 64)
    assert (result.code, result.out) == (1, "")
    assert result.err.strip() == "The plan has changed: stages.0.method."


def test_without_a_terminal_nobody_approves_unless_told_to(attune, services, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    refused = attune("spec", "approve", "s1")
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert "--yes" in refused.err
    assert not services.approved
    approved = attune("spec", "approve", "s1", "--yes", "--json")
    assert json.loads(approved.out)["state"] == "STATE_APPROVED"


def test_a_field_of_a_plan_is_set_by_its_path(attune, services):
    path = "stages.0.hyperparameters.seed"
    result = attune("spec", "set", "s1", path, "7")
    assert "Revision 2" in result.out
    sent = services.asked[-1]
    assert list(sent.update_mask.paths) == [path]
    assert sent.spec.stages[0].hyperparameters.seed == 7
    assert sent.spec.etag


def test_a_job_is_followed_to_its_report(attune, services):
    result = attune("job", "watch", "j1")
    assert result.code == 0
    assert "running · TRAIN · step 12 of 240 · loss 1.2345" in result.out
    assert "+0.820, 95 % interval +0.760 to +0.880: better" in result.out


def test_a_watch_goes_on_when_the_scheduler_comes_back(attune, services):
    services.watch_failures = 1
    lines = attune("job", "watch", "j1", "--json").out.splitlines()
    states = [json.loads(line)["state"].removeprefix("STATE_") for line in lines]
    assert states == ["QUEUED", "QUEUED", "RUNNING", "SUCCEEDED"]


def test_a_failed_job_says_why_and_exits_with_one(attune, services):
    services.job_end = a_job(scheduler_pb2.Job.STATE_FAILED)
    services.job_end.error.message = "The loss is NaN at step 3."
    result = attune("job", "watch", "j1")
    assert result.code == 1
    assert result.err.strip() == "jobs/j1 is failed: The loss is NaN at step 3."


def test_jobs_are_listed_and_cancelled(attune, services):
    services.approved = True
    assert "jobs/j1" in attune("job", "list").out
    assert "jobs/j1 is cancelled" in attune("job", "cancel", "j1").out
    assert json.loads(attune("job", "list", "--json").out)["jobs"][0]["name"] == JOB


def test_a_waiting_job_says_its_place_the_reason_the_estimate_and_the_cost(attune, services):
    services.approved = True
    for command in (("job", "list"), ("job", "show", "j1")):
        out = attune(*command).out
        for said in ("queued", "3", "2 jobs are before it.", "2030-03-17 17:46:40", "$1.23"):
            assert said in out, (command, said)
    assert json.loads(attune("job", "show", "j1", "--json").out)["queue_position"] == "3"


def test_a_job_is_paused_resumed_and_ranked(attune, services):
    paused = attune("job", "pause", "j1")
    assert "jobs/j1 is paused." in paused.out
    assert "attune job resume jobs/j1" in paused.out
    assert "jobs/j1 is queued. 2 jobs are before it." in attune("job", "resume", "j1").out
    ranked = attune("job", "prioritize", "j1", "high", "--json")
    assert json.loads(ranked.out)["priority"] == "PRIORITY_HIGH"
    sent = services.asked[-3:]
    assert [request.name for request in sent] == [JOB] * 3
    assert len({request.request_id for request in sent}) == 3


def test_a_job_that_asks_says_what_with_the_two_commands_that_answer_it(attune, services):
    services.job_end = a_job(scheduler_pb2.Job.STATE_PAUSED)
    question = services.job_end.question
    question.reason, question.message = "TARGET_MET", "The base meets the target."
    question.figures.add(name="few_shot_score", value=0.9375)
    watched = attune("job", "watch", "j1")
    assert watched.code == 1
    said = watched.err.replace("\n", " ")
    assert "jobs/j1 asks: The base meets the target. (few shot score 0.9375)" in said
    services.shown = services.job_end
    shown = attune("job", "show", "j1").out
    for command in ("attune job resume jobs/j1 --continue", "attune job resume jobs/j1 --stop"):
        assert command in said
        assert command in shown
    assert "The base meets the target." in shown


@pytest.mark.parametrize(("flags", "decision"), [([], 0), (["--continue"], 1), (["--stop"], 2)])
def test_a_decision_goes_with_the_request(attune, services, flags, decision):
    attune("job", "resume", "j1", *flags)
    assert services.asked[-1].decision == decision


def test_a_priority_that_does_not_exist_is_refused(attune, services):
    assert attune("job", "prioritize", "j1", "top").code == 2


def test_versions_are_listed_with_their_scores(attune, services):
    result = attune("model", "list")
    assert "tickets/1" in result.out
    assert "0.820" in result.out
    assert json.loads(attune("model", "list", "--json").out)["model_versions"][0]["name"] == VERSION


def test_a_version_is_merged_into_a_base_for_the_next_plan(attune, services):
    result = attune("model", "merge", "tickets/1")
    assert result.code == 0
    assert "tickets/1 is at hand as the base model merged/cccccccccccc" in result.out
    assert services.asked[-1].adapter_sha256 == "b" * 64
    found = json.loads(attune("model", "merge", "tickets/1", "--json").out)
    assert found["base_model"] == "merged/cccccccccccc"
    services.merged_sha256 = "c" * 64
    result = attune("model", "merge", "tickets/1")
    assert result.code == 1
    assert "whole model already, at hand as the base model merged/cccccccccccc" in result.err


def test_a_model_without_a_number_is_its_newest_ready_version(attune, services):
    services.version_states = services.version_states[1:]
    assert attune("deploy", "tickets").code == 0


def test_a_model_without_a_ready_version_cannot_be_deployed(attune, services):
    services.version_states = services.version_states[:1]
    result = attune("deploy", "tickets")
    assert result.code == 1
    assert "no version that is ready" in result.err


def test_a_deployment_is_shown_with_what_became_of_its_requests(attune, services):
    attune("deploy", "tickets/1", "--alias", "tickets")
    result = attune("deployment", "show", "tickets")
    (row,) = [line for line in result.out.splitlines() if "3,702" in line]
    assert all(text in row for text in ("tickets/1", "11", "1,200 ms, 2,400 ms"))


def test_a_deployment_is_made_and_then_pointed_at_another_version(attune, services):
    first = attune("deploy", "tickets/1", "--alias", "front")
    assert "tickets/1 is ready" in first.out
    assert "attune chat front" in first.out
    second = attune("deploy", "tickets/1", "--alias", "front", "--json")
    assert json.loads(second.out)["name"] == "projects/default/deployments/front"
    assert list(services.asked[-1].update_mask.paths) == ["model_version"]
