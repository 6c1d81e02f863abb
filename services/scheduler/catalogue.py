"""Reads the catalogue of profiles and model shapes from the YAML files beside this one."""

from __future__ import annotations

from pathlib import Path

import yaml
from attune.spec.v1.compute_pb2 import ModelShape

from services.scheduler.profile import Catalogue, Precision, Profile
from services.scheduler.words import GIB

PROFILES = Path(__file__).with_name("profiles.yaml")
BASE_MODELS = Path(__file__).with_name("base_models.yaml")
SHAPE_FIELDS = (
    "context_length",
    "parameter_count",
    "layer_count",
    "hidden_size",
    "intermediate_size",
    "vocabulary_size",
    "head_count",
    "kv_head_count",
)
EXTRA_FIELDS = (
    "head_size",
    "tied_embeddings",
    "expert_count",
    "experts_per_token",
    "ungated",
    "norm_count",
    "query_norms",
)
"""What most models have like all others, and so may be left out."""


def read_catalogue(profiles_file: Path | None = None, allowed_profiles: str = "") -> Catalogue:
    """Return the catalogue that comes with this version, as the operator has changed it.

    Args:
        profiles_file: With kinds of device to add, or to put in the place of known ones.
        allowed_profiles: Ids of those that may be used, separated by commas; empty for all.

    Raises:
        SystemExit: If the file cannot be used or an id is unknown, in one line.
    """
    profiles = read_profiles(PROFILES.read_text())
    if profiles_file is not None:
        profiles |= _read_own(profiles_file)
    if allowed := [name.strip() for name in allowed_profiles.split(",") if name.strip()]:
        if unknown := [name for name in allowed if name not in profiles]:
            raise SystemExit(
                f"ATTUNE_SCHEDULER_ALLOWED_PROFILES names '{unknown[0]}', which is no profile. "
                f"Those known are {', '.join(sorted(profiles))}."
            )
        profiles = {name: profiles[name] for name in profiles if name in allowed}
    return Catalogue(profiles, _read_shapes())


def _read_own(path: Path) -> dict[str, Profile]:
    try:
        return read_profiles(path.read_text())
    except (OSError, ValueError) as error:
        raise SystemExit(
            f"The profiles in {path} cannot be used: {error}. Correct the file, or start without "
            "ATTUNE_SCHEDULER_PROFILES_FILE."
        ) from None


def _read_shapes() -> dict[str, ModelShape]:
    shapes = {}
    for entry in yaml.safe_load(BASE_MODELS.read_text()):
        values = {name: entry[name] for name in SHAPE_FIELDS}
        values |= {name: entry[name] for name in EXTRA_FIELDS if name in entry}
        for model in entry["ids"]:
            shapes[model] = ModelShape(id=model, **values)
    return shapes


def read_profiles(text: str) -> dict[str, Profile]:
    """Return the profiles in the text of such a file, by id.

    Raises:
        ValueError: If it is no such text.
    """
    profiles = {}
    try:
        for entry in yaml.safe_load(text):
            entry["memory_bytes"] = int(entry.pop("memory_gib") * GIB)
            entry["precision"] = Precision(entry["precision"])
            profiles[entry["id"]] = Profile(**entry)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no list of profiles: {error}") from error
    return profiles
