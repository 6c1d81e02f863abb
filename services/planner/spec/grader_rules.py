"""Rules of graders and rewards, as the comments of their protos state them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from attune.spec.v1 import grader_pb2, stage_pb2

from services.common.errors import Violation
from services.planner.spec.path import as_text

GRADER_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
WEIGHT_SUM_TOLERANCE = 1e-6
PATTERN_CHARACTERS_MAX = 1000
SOURCE_BYTES_MAX = 256 * 1024
CRITERIA_CHARACTERS_MAX = 4000
SAFEGUARDS_MAX = 10
SIMILARITIES = (
    "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5",
    "rouge_l",
)  # fmt: skip
"""Metrics of text similarity."""


def grader_violations(grader: grader_pb2.Grader, path: str, seen: set[str]) -> Iterator[Violation]:
    """Yield every rule that a grader breaks.

    Args:
        grader: Any.
        path: Before its fields, with a dot at its end.
        seen: Names of the graders beside it; its own is added.
    """
    if not GRADER_NAME.fullmatch(grader.name):
        text = f"'{grader.name[:80]}' is not a name of the form [a-z][a-z0-9_]{{0,62}}."
        yield Violation(path + "name", "NAME", text)
    if grader.name in seen:
        text = f"'{grader.name}' names two graders. Give each a name of its own."
        yield Violation(path + "name", "DUPLICATE", text)
    seen.add(grader.name)
    if grader.WhichOneof("kind") is None:
        yield Violation(path + "kind", "REQUIRED", "A grader needs a kind. Set one of them.")
    yield from _kind(grader, path)


def _kind(grader: grader_pb2.Grader, path: str) -> Iterator[Violation]:
    similarity = grader.text_similarity.evaluation_metric
    if grader.HasField("text_similarity") and similarity not in SIMILARITIES:
        text = f"'{similarity[:80]}' is not a metric. Use one of: {', '.join(SIMILARITIES)}."
        yield Violation(path + "text_similarity.evaluation_metric", "UNKNOWN_METRIC", text)
    if grader.HasField("regex") and not _is_pattern(grader.regex.pattern):
        text = f"It is no pattern of at most {PATTERN_CHARACTERS_MAX:,} characters. Correct it."
        yield Violation(path + "regex.pattern", "PATTERN", text)
    if grader.HasField("label_model"):
        labels = set(grader.label_model.labels)
        if not set(grader.label_model.passing_labels) <= labels:
            text = f"Passing labels must be among the labels: {', '.join(sorted(labels))}."
            yield Violation(path + "label_model.passing_labels", "UNKNOWN_LABEL", text)
    score = grader.score_model
    low = score.range_low if score.HasField("range_low") else 0.0
    high = score.range_high if score.HasField("range_high") else 1.0
    if grader.HasField("score_model") and not low < high:
        text = f"{as_text(low)} is not below {as_text(high)}. Make the range go upwards."
        yield Violation(path + "score_model.range_high", "RANGE", text)
    if len(grader.win_rate.criteria) > CRITERIA_CHARACTERS_MAX:
        text = f"At most {CRITERIA_CHARACTERS_MAX:,} characters. Shorten them."
        yield Violation(path + "win_rate.criteria", "LENGTH", text)
    if len(grader.python.source.encode()) > SOURCE_BYTES_MAX:
        text = f"At most {SOURCE_BYTES_MAX:,} bytes. Shorten it."
        yield Violation(path + "python.source", "LENGTH", text)
    length = grader.length
    if length.HasField("max_characters") and length.max_characters < length.min_characters:
        text = f"{length.max_characters:,} is below the least, {length.min_characters:,}."
        yield Violation(path + "length.max_characters", "RANGE", text)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return len(text) <= PATTERN_CHARACTERS_MAX


def reward_violations(reward: stage_pb2.Reward, path: str) -> Iterator[Violation]:
    """Yield every rule that a reward breaks.

    Args:
        reward: Any.
        path: Before its fields, with a dot at its end.
    """
    weights = [weighted.weight for weighted in reward.graders]
    if len(weights) > 8:
        yield Violation(path + "graders", "COUNT", "At most eight graders. Keep fewer.")
    if any(not 0 < weight <= 1 for weight in weights):
        yield Violation(path + "graders", "RANGE", "Every weight must lie in (0, 1].")
    if weights and abs(math.fsum(weights) - 1) > WEIGHT_SUM_TOLERANCE:
        text = f"The weights add up to {as_text(math.fsum(weights))}. Make them add up to 1."
        yield Violation(path + "graders", "SUM", text)
    if reward.HasField("timeout_s") and not 0 < reward.timeout_s <= 60:
        text = f"{as_text(reward.timeout_s)} is not in (0, 60]. Choose a number in that range."
        yield Violation(path + "timeout_s", "RANGE", text)
    if len(reward.safeguards) > SAFEGUARDS_MAX:
        text = f"At most {SAFEGUARDS_MAX} sentences. Keep those that matter."
        yield Violation(path + "safeguards", "COUNT", text)
    seen: set[str] = set()
    for index, weighted in enumerate(reward.graders):
        if weighted.grader.HasField("preference"):
            text = "It compares pairs, and looks at no answer to reward. Choose another kind."
            yield Violation(f"{path}graders.{index}.grader.preference", "UNSUPPORTED", text)
        yield from grader_violations(weighted.grader, f"{path}graders.{index}.grader.", seen)
