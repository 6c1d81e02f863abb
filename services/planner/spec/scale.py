"""Numbers of a spec, multiplied."""

from __future__ import annotations

from collections.abc import Mapping

from attune.spec.v1 import spec_pb2

from services.common.errors import InvalidArgument
from services.planner.spec.path import resolve

DIGITS = 6
WHOLE_NUMBERS = frozenset({"epoch_count"})
"""Fields that hold a fraction and are meant as a count."""


def scale(spec: spec_pb2.Spec, factors: Mapping[str, float]) -> dict[str, float | int]:
    """Return the present values times their factors, by field path; fields that are unset stay out.

    Whole numbers stay whole, and at least 1.

    Args:
        spec: The plan as it is.
        factors: By field path, above 0.
    """
    scaled: dict[str, float | int] = {}
    for path, factor in factors.items():
        try:
            place = resolve(spec, path)
        except InvalidArgument:
            continue
        if not place.is_set:
            continue
        if isinstance(place.value, int) or place.field.name in WHOLE_NUMBERS:
            scaled[path] = max(1, round(place.value * factor))
        else:
            scaled[path] = float(f"{place.value * factor:.{DIGITS}g}")
    return scaled
