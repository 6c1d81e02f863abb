"""Base models under the artefact root: which are at hand, and how one gets there.

`python -m services.trainer.models.base_models ensure <id> [--from PATH] [--link PATH]` puts one at
hand and prints its progress as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import struct
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from attune.spec.v1.compute_pb2 import ModelShape

from services.common.artefacts import (
    MANIFEST,
    Artefacts,
    file_sha256,
    publish,
    read_manifest,
    staging_folder,
    write_manifest,
)
from services.common.errors import FailedPrecondition, NotFound, ServiceError
from services.trainer.settings import TrainerSettings

STARTER = "attune/starter"
STARTER_LICENCE = "Apache-2.0"
MODELS_MAX = 100
"""Models that one list holds."""
HEADER_BYTES_MAX = 100 * 1024 * 1024
"""Largest header of a safetensors file that is read; the format's own limit."""
TAKEN = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors.index.json",
)
"""Files that are copied, besides *.safetensors; nothing else of a model's folder is."""
REFUSED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".py")
"""Endings of files that can hold code; a folder with one is not taken."""

Report = Callable[[int, int, float], None]
"""Takes units done, units in all and the newest loss."""


def list_local(artefacts: Artefacts) -> list[ModelShape]:
    """Return the newest revision of each base model at hand, by id; at most 100."""
    newest = {}
    for manifest in sorted(
        artefacts.root.glob(f"models/*/*/{MANIFEST}"), key=lambda path: path.stat().st_mtime
    ):
        shape = read_shape(manifest.parent)
        if shape is not None:
            newest[shape.id] = shape
    return [newest[model_id] for model_id in sorted(newest)][:MODELS_MAX]


def find_local(artefacts: Artefacts, model_id: str) -> tuple[ModelShape, Path]:
    """Return the newest revision of a base model and its folder.

    Raises:
        NotFound: If it is not at hand; the error says which are.
    """
    models = list_local(artefacts)
    for shape in models:
        if shape.id == model_id:
            return shape, artefacts.model(model_id) / shape.revision
    here = ", ".join(shape.id for shape in models) or "none"
    raise NotFound(
        f"Base model '{model_id[:200]}' is not at hand; at hand: {here}. Put it there with "
        "`python -m services.trainer.models.base_models ensure <id>`.",
        reason="BASE_MODEL_NOT_AT_HAND",
        base_model=model_id[:200],
        at_hand=here,
    )


def read_shape(folder: Path) -> ModelShape | None:
    """Return the shape of a complete revision from its files, or None if they cannot be read."""
    try:
        facts = json.loads((folder / MANIFEST).read_text())["facts"]
        config = json.loads((folder / "config.json").read_text())
        head_count = int(config["num_attention_heads"])
        return ModelShape(
            id=facts["id"],
            revision=folder.name,
            licence=facts.get("licence", ""),
            context_length=int(config["max_position_embeddings"]),
            parameter_count=sum(map(_parameter_count, folder.glob("*.safetensors"))),
            layer_count=int(config["num_hidden_layers"]),
            hidden_size=int(config["hidden_size"]),
            vocabulary_size=int(config["vocab_size"]),
            head_count=head_count,
            kv_head_count=int(config.get("num_key_value_heads") or head_count),
            head_size=int(config.get("head_dim") or 0),
            tied_embeddings=config.get("tie_word_embeddings"),
            intermediate_size=_used_inner_width(config),
            expert_count=_expert_count(config),
            experts_per_token=int(config.get("num_experts_per_tok") or 0),
        )
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def _expert_count(config: dict[str, Any]) -> int:
    return int(config.get("num_local_experts") or config.get("num_experts") or 0)


def _used_inner_width(config: dict[str, Any]) -> int:
    """Return the inner width that one token uses: in a mixture, that of its experts together."""
    inner = int(config["intermediate_size"])
    if not _expert_count(config):
        return inner
    used = int(config.get("num_experts_per_tok") or 1)
    return used * int(config.get("moe_intermediate_size") or inner)


def ensure(artefacts: Artefacts, model_id: str, source: Path | None, report: Report) -> Path:
    """Put a base model at hand and return the folder of its revision.

    Args:
        artefacts: Where it goes.
        model_id: `attune/starter`, the id that a local folder is to have, or an id of the hub.
        source: A local folder; None for the starter, or for the hub.
        report: Hears of progress.

    Raises:
        ServiceError: If the model cannot be taken or reached.
    """
    if source is not None:
        return _import(artefacts, model_id, source)
    try:
        shape, folder = find_local(artefacts, model_id)
    except NotFound:
        if model_id == STARTER:
            return _make_starter(artefacts, report)
        return _download(artefacts, model_id)
    if read_manifest(folder) is None:
        raise FailedPrecondition(
            f"The files of {shape.id} under {folder} are not those of its manifest. Remove the "
            "folder and try again.",
            reason="BASE_MODEL_BROKEN",
            base_model=shape.id,
            folder=str(folder),
        )
    return folder


def _make_starter(artefacts: Artefacts, report: Report) -> Path:
    # Imports torch: only now, for a model that is at hand must be found at once.
    from services.trainer.recipes.starter import make_starter

    parent = staging_folder(artefacts.model(STARTER) / "new")
    try:
        make_starter(parent / "model", report=report)
        return _publish(artefacts, STARTER, parent / "model", STARTER_LICENCE, revision=None)
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _import(
    artefacts: Artefacts,
    model_id: str,
    source: Path,
    *,
    licence: str = "",
    revision: str | None = None,
) -> Path:
    _refuse_unsafe(source)
    staged = staging_folder(artefacts.model(model_id) / "new")
    try:
        for path in sorted(source.iterdir()):
            if path.name in TAKEN or path.suffix == ".safetensors":
                shutil.copyfile(path, staged / path.name)
        return _publish(artefacts, model_id, staged, licence, revision)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _publish(
    artefacts: Artefacts, model_id: str, staged: Path, licence: str, revision: str | None
) -> Path:
    if revision is None:
        lines = [f"{path.name} {file_sha256(path)}\n" for path in sorted(staged.iterdir())]
        revision = sha256("".join(lines).encode()).hexdigest()
    write_manifest(staged, {"id": model_id, "licence": licence})
    folder = artefacts.model(model_id) / revision
    publish(staged, folder)
    # The newest revision is the one that is used, also when it was there before.
    os.utime(folder / MANIFEST)
    return folder


def _refuse_unsafe(source: Path) -> None:
    if not (source / "config.json").is_file():
        raise _refusal(source, "has no config.json", "Name the folder of a model")
    for path in sorted(source.rglob("*")):
        if path.suffix in REFUSED:
            raise _refusal(source, f"holds {path.name}, which can hold code", "Remove it")
    if not any(source.glob("*.safetensors")):
        raise _refusal(source, "has no *.safetensors", "Save its weights in that format")
    config = _read_json(source, "config.json")
    tokenizer = _read_json(source, "tokenizer_config.json")
    if "auto_map" in config or "auto_map" in tokenizer:
        raise _refusal(source, "wants to run code of its own (auto_map)", "Choose another model")
    templates = ("chat_template.jinja", "chat_template.json")
    if not tokenizer.get("chat_template") and not any(
        (source / one).is_file() for one in templates
    ):
        raise _refusal(source, "has no chat template", "Choose a model that is made to chat")
    # Imports transformers, which takes seconds: only for a folder that is fine so far.
    from services.trainer.data.render import refuse_unknown_model

    refuse_unknown_model(str(config.get("model_type", "")))


def _refusal(source: Path, fault: str, remedy: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{source} {fault}. {remedy}.", reason="BASE_MODEL_REFUSED", folder=str(source), fault=fault
    )


def _read_json(source: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads((source / name).read_text())
    except (OSError, ValueError):
        raise _refusal(source, f"has no readable {name}", "Add it") from None
    if not isinstance(values, dict):
        raise _refusal(source, f"holds a {name} that is no JSON object", "Mend it")
    return values


def _download(artefacts: Artefacts, model_id: str) -> Path:
    # The one place that may reach the hub. The library reads these when it is imported.
    os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    from huggingface_hub import HfApi, snapshot_download

    target = staging_folder(artefacts.model(model_id) / "hub")
    try:
        info = HfApi().model_info(model_id, timeout=30)
        listed = [one.rfilename for one in info.siblings or [] if one.rfilename.endswith(".py")]
        if listed:
            raise _refusal(Path(model_id), f"holds {listed[0]}, which is code", "Choose another")
        wanted = [*TAKEN, "*.safetensors"]
        snapshot_download(model_id, revision=info.sha, local_dir=target, allow_patterns=wanted)
        licence = str(getattr(info.card_data, "license", "") or "")
        return _import(artefacts, model_id, target, licence=licence, revision=info.sha)
    except ServiceError:
        raise
    except Exception as error:  # The hub's client raises whatever its transports do.
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise FailedPrecondition(
            f"'{model_id}' could not be fetched from the hub: {first}. Check the id and the "
            "network, or name a local folder with --from.",
            reason="HUB_UNREACHABLE",
            base_model=model_id,
        ) from None
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _parameter_count(path: Path) -> int:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > HEADER_BYTES_MAX:
            raise ValueError(f"{path} has a header of {length} bytes")
        header = json.loads(file.read(length))
    return sum(math.prod(one["shape"]) for name, one in header.items() if name != "__metadata__")


def main(arguments: list[str]) -> None:
    """Answer the command line.

    Raises:
        SystemExit: With one line, if the model cannot be put at hand.
    """
    parser = argparse.ArgumentParser(prog="python -m services.trainer.models.base_models")
    command = parser.add_subparsers(required=True).add_parser("ensure", help="put one at hand")
    command.add_argument("id", help="attune/starter, an id of the hub, or one for a local folder")
    command.add_argument("--from", dest="source", type=Path, help="a local folder")
    command.add_argument("--link", type=Path, help="a symbolic link to make or turn to its folder")
    given = parser.parse_args(arguments)
    artefacts = Artefacts(TrainerSettings.read("trainer").artefact_root)
    try:
        folder = ensure(artefacts, given.id, given.source, _print_progress)
        if given.link is not None:
            _link(given.link, folder)
    except (ServiceError, OSError) as error:
        raise SystemExit(str(error)) from None
    _print({"id": given.id, "revision": folder.name, "folder": str(folder)})


def _link(link: Path, folder: Path) -> None:
    """Have a link lead to a folder, for an engine that is started elsewhere with a fixed path."""
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder)
    fresh.replace(link)


def _print_progress(done: int, total: int, loss: float) -> None:
    _print({"done": done, "total": total, "loss": loss})


def _print(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
