"""The catalogue of base models: complete, sourced, and compared with a hub's recorded answers."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import yaml

from services.planner.plan import catalogue_refresh
from services.planner.plan.catalogue import (
    CATALOGUE,
    CatalogueModel,
    CommercialUse,
    load_catalogue,
    models_to_proto,
    narrow,
)

MODELS = load_catalogue()
BY_ID = {model.id: model for model in MODELS}
STRENGTHS = {"chat", "code", "math", "reasoning", "tool_calling", "multilingual", "translation"}


def test_the_catalogue_spans_sizes_kinds_and_makers():
    public = [model for model in MODELS if not model.id.startswith("attune/")]
    assert len(public) >= 28
    assert min(model.billions for model in public) < 0.2
    assert 100 < max(model.billions for model in public) <= 120
    assert sum(bool(model.active_parameter_count) for model in public) >= 4
    assert len({model.id.split("/")[0] for model in public}) >= 8
    assert {strength for model in public for strength in model.strengths} >= STRENGTHS
    assert {model.instruction_tuned for model in public} == {True, False}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_an_entry_is_complete_plausible_and_sourced(model):
    assert model.licence
    assert model.source
    assert model.context_length >= 1024
    assert model.parameter_count > 1_000_000
    assert 0 <= model.active_parameter_count < model.parameter_count
    assert all(len(code) == 2 and code.islower() for code in model.languages)
    assert set(model.strengths) <= STRENGTHS
    assert model.commercial_use is not CommercialUse.UNKNOWN
    assert not model.is_permissive or model.commercial_use is CommercialUse.YES
    assert ("chat" in model.strengths) <= model.instruction_tuned


def test_ids_are_named_once_and_lists_have_sources():
    body = yaml.safe_load(CATALOGUE.read_text())
    assert len(BY_ID) == len(MODELS)
    explained = [*body["licences"].values(), *body["language_lists"].values()]
    assert all(entry["source"] for entry in explained)


def test_norwegian_is_a_language_and_not_false():
    assert "no" in BY_ID["Qwen/Qwen3-8B"].languages


def test_what_is_at_hand_keeps_what_only_the_catalogue_knows():
    local = CatalogueModel("Qwen/Qwen3-4B", "", 2048, 4_000_000_000, "at hand", "ab" * 32)
    own = CatalogueModel("org/own", "MIT", 2048, 10, "at hand", "cd" * 32)
    found = {model.id: model for model in narrow(MODELS, [local, own], ())}
    known = found["Qwen/Qwen3-4B"]
    assert (known.context_length, known.licence) == (2048, "Apache-2.0")
    assert known.languages == BY_ID["Qwen/Qwen3-4B"].languages
    assert known.is_at_hand
    assert found["org/own"].commercial_use is CommercialUse.YES


def test_models_are_listed_smallest_first_with_their_active_parameters():
    starter = replace(BY_ID["attune/starter"], revision="ab" * 32)
    listed = models_to_proto([BY_ID["openai/gpt-oss-20b"], starter])
    assert [model.id for model in listed] == ["attune/starter", "openai/gpt-oss-20b"]
    assert (listed[0].at_hand, listed[1].at_hand) == (True, False)
    assert listed[0].active_parameter_count == listed[0].parameter_count
    assert listed[1].active_parameter_count < listed[1].parameter_count
    assert listed[1].source


CARD = {"license": "apache-2.0"}
SOUND = {
    "sha": "0123456789abcdef",
    "gated": False,
    "cardData": CARD,
    "safetensors": {"parameters": {"BF16": 4_022_468_096}},
}
"""As https://huggingface.co/api/models/Qwen/Qwen3-4B answers, shortened."""


class HubHandler(BaseHTTPRequestHandler):
    answers: ClassVar[dict] = {}
    tokens: ClassVar[list] = []

    def do_GET(self):
        self.tokens.append(self.headers.get("Authorization"))
        status, body = self.answers.get(self.path, (404, {}))
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch):
    HubHandler.answers, HubHandler.tokens = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("HF_TOKEN", "secret")
    yield HubHandler
    server.shutdown()
    server.server_close()
    thread.join()


def answer(model: str, config: object, status: int = 200, **changes: object) -> dict:
    return {
        f"/api/models/{model}": (200, SOUND | changes),
        f"/{model}/resolve/main/config.json": (status, config),
    }


def one_entry_file(tmp_path, model="Qwen/Qwen3-4B"):
    body = yaml.safe_load(CATALOGUE.read_text())
    entry = next(entry for entry in body["models"] if entry["id"] == model)
    head = CATALOGUE.read_text().split("\nmodels:\n")[0]
    path = tmp_path / "catalogue.yaml"
    path.write_text(f"{head}\nmodels:\n{catalogue_refresh.entry_text(entry)}")
    return path


def test_the_file_is_written_as_the_script_writes_it():
    body = yaml.safe_load(CATALOGUE.read_text())
    entries = "".join(catalogue_refresh.entry_text(entry) for entry in body["models"])
    assert CATALOGUE.read_text().split("\nmodels:\n")[1] == entries


def test_nothing_changes_where_the_hub_agrees(hub, tmp_path, capsys):
    hub.answers = answer("Qwen/Qwen3-4B", {"max_position_embeddings": 40960})
    path = one_entry_file(tmp_path)
    before = path.read_text()
    assert catalogue_refresh.main(["--file", str(path), "--write"]) == 0
    assert (capsys.readouterr().out, path.read_text()) == ("", before)
    assert set(hub.tokens) == {"Bearer secret"}


def test_differences_are_printed_and_only_written_when_asked(hub, tmp_path, capsys):
    config = {"text_config": {"max_position_embeddings": 65536}}
    hub.answers = answer("Qwen/Qwen3-4B", config, gated="auto", cardData={"license": "mit"})
    path = one_entry_file(tmp_path)
    before = path.read_text()
    assert catalogue_refresh.main(["--file", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Qwen/Qwen3-4B: licence: Apache-2.0 -> MIT",
        "Qwen/Qwen3-4B: context_length: 40960 -> 65536",
        "Qwen/Qwen3-4B: gated: False -> True",
    ]
    assert path.read_text() == before
    catalogue_refresh.main(["--file", str(path), "--write"])
    (model,) = load_catalogue(path)
    assert (model.licence, model.context_length, model.gated) == ("MIT", 65536, True)
    assert model.source.endswith("licence, context_length, gated read from the hub at commit "
                                 "0123456789ab")  # fmt: skip
    assert path.read_text().startswith("# Base models")


def test_a_count_of_packed_numbers_or_of_a_vision_tower_is_not_taken(hub, tmp_path, capsys):
    counts = {"parameters": {"BF16": 1_800_000_000, "U8": 9_000_000_000}}
    hub.answers = answer("Qwen/Qwen3-4B", {}, safetensors=counts)
    catalogue_refresh.main(["--file", str(one_entry_file(tmp_path))])
    counts = {"parameters": {"BF16": 5_000_000_000}}
    hub.answers = answer("Qwen/Qwen3-4B", {"vision_config": {}}, safetensors=counts)
    catalogue_refresh.main(["--file", str(one_entry_file(tmp_path))])
    assert capsys.readouterr().out == ""
    hub.answers = answer("Qwen/Qwen3-4B", {}, safetensors=counts)
    catalogue_refresh.main(["--file", str(one_entry_file(tmp_path))])
    assert "parameter_count: 4022468096 -> 5000000000" in capsys.readouterr().out


def test_a_gated_model_is_compared_by_its_card(hub, tmp_path, capsys):
    other = {"license": "other", "license_name": "qwen-research"}
    hub.answers = answer("Qwen/Qwen3-4B", {}, status=401, cardData=other, gated="manual")
    assert catalogue_refresh.main(["--file", str(one_entry_file(tmp_path))]) == 0
    assert "licence: Apache-2.0 -> qwen-research" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"/api/models/Qwen/Qwen3-4B": (500, {})},
        {"/api/models/Qwen/Qwen3-4B": (200, b"<html>")},
        {"/api/models/Qwen/Qwen3-4B": (200, [1])},
        answer("Qwen/Qwen3-4B", {}, status=500),
    ],
    ids=["absent", "broken", "no JSON", "no object", "no configuration"],
)
def test_what_cannot_be_compared_is_named_and_changes_nothing(hub, tmp_path, capsys, answers):
    hub.answers = answers
    path = one_entry_file(tmp_path)
    before = path.read_text()
    assert catalogue_refresh.main(["--file", str(path), "--write"]) == 1
    assert "Qwen/Qwen3-4B: not compared" in capsys.readouterr().err
    assert path.read_text() == before


def test_a_licence_that_the_file_does_not_explain_is_not_written(hub, tmp_path, capsys):
    hub.answers = answer("Qwen/Qwen3-4B", {}, cardData={"license": "openrail"})
    path = one_entry_file(tmp_path)
    before = path.read_text()
    assert catalogue_refresh.main(["--file", str(path), "--write"]) == 1
    assert "'openrail' is not among those" in capsys.readouterr().err
    assert path.read_text() == before
    load_catalogue(path)


def test_answers_are_bounded(hub, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(catalogue_refresh, "ANSWER_BYTES_MAX", 100)
    hub.answers = answer("Qwen/Qwen3-4B", {})
    assert catalogue_refresh.main(["--file", str(one_entry_file(tmp_path))]) == 1
    assert "longer than 100 bytes" in capsys.readouterr().err
