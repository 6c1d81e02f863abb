"""Reads public tables, where an empty cell is unknown: shapes of models, sizes of devices."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

from attune.spec.v1.compute_pb2 import ModelShape

GIB = 1024**3


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return list(csv.DictReader(lines))


def number_of(cells: dict[str, str], name: str) -> float | None:
    """Return a cell as a positive number, or None."""
    try:
        value = float((cells.get(name) or "").replace(",", "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def fact_of(cells: dict[str, str], name: str) -> bool | None:
    """Return a cell as yes or no, or None; what follows the word is a remark."""
    word = (cells.get(name) or "").strip().lower()
    if word.startswith(("true", "yes", "full", "selective")):
        return True
    return False if word.startswith(("false", "no")) else None


def read_shapes(path: Path) -> dict[str, ModelShape]:
    """Return the shapes of a table of architectures, by the names that `find_shape` asks for."""
    shapes: dict[str, ModelShape] = {}
    for cells in read_table(path):
        width, layers = number_of(cells, "hidden_size"), number_of(cells, "num_layers")
        if not width or not layers:
            continue
        used = int(number_of(cells, "experts_per_token") or 0)
        inner = number_of(cells, "moe_intermediate_size") if used else None
        family = cells.get("family", "")
        shape = ModelShape(
            id=cells.get("model") or "",
            context_length=int(number_of(cells, "max_position_embeddings") or 0),
            parameter_count=int(number_of(cells, "params_total") or 0),
            layer_count=int(layers),
            hidden_size=int(width),
            intermediate_size=int(
                (inner or 0) * used or number_of(cells, "intermediate_size") or 0
            ),
            vocabulary_size=int(number_of(cells, "vocab_size") or 0),
            head_count=int(number_of(cells, "num_heads") or 1),
            kv_head_count=int(number_of(cells, "num_kv_heads") or 0),
            head_size=int(number_of(cells, "head_dim") or 0),
            tied_embeddings=fact_of(cells, "tied_embeddings"),
            expert_count=int(number_of(cells, "num_experts") or 0),
            experts_per_token=used,
            ungated=fact_of(cells, "gated_mlp") is False,
            norm_count=4 if family in ("gemma2", "gemma3") else 0,
            query_norms=family.startswith("qwen3") or family == "gemma3",
        )
        for name in (cells.get("model") or "", cells.get("hf_repo") or ""):
            if name:
                shapes.setdefault(plain_name(name), shape)
                shapes.setdefault(plain_name(name.split("/")[-1]), shape)
    return shapes


def find_shape(shapes: dict[str, ModelShape], model: str) -> ModelShape | None:
    """Return the shape of a model by its name, spelt in any way, or None."""
    for name in (plain_name(model), plain_name(model.split("/")[-1])):
        for known in (name, name.removesuffix("hf"), name + "hf"):
            if known in shapes:
                return shapes[known]
    return None


def plain_name(name: str) -> str:
    """Return a name without case, punctuation and the words that models share."""
    return re.sub(r"[^a-z0-9.]", "", name.lower().removesuffix("-instruct").removesuffix("-base"))


def read_cards(path: Path) -> dict[str, float]:
    """Return the bytes that runs may use of each device, by its plain name."""
    cards = {}
    for cells in read_table(path):
        hint = re.search(r"\d+(\.\d+)?", cells.get("usable_gib_hint") or "")
        size = float(hint.group()) if hint else 0.98 * (number_of(cells, "memory_gb") or 0)
        cards[plain_name(cells["gpu"])] = size * GIB
    return cards


def find_capacity(model: str, cards: dict[str, float]) -> float | None:
    """Return the bytes that runs may use of a device by its name, spelt in any way, or None."""
    name = plain_name(model).replace("sxm4", "")
    if not name:
        return None
    if match := re.match(r"(\d+)gb(card|gpu)$", name):
        return int(match.group(1)) * 0.985 * GIB
    fitting = [known for known in cards if name in known or known in name]
    size = re.search(r"(\d+)gb", name)
    exact = [known for known in fitting if size and size.group() in known]
    return cards[min(exact or fitting, key=len)] if fitting else None
