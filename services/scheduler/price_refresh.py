"""Writes today's prices into the profiles: `python -m services.scheduler.price_refresh`.

They are the lowest that clouds ask on demand for one device, as gpuhunt collects them; the extra
`prices` brings it. Only the price, its date and its source of each profile change in the file.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

from services.scheduler.catalogue import PROFILES, read_profiles
from services.scheduler.profile import Profile

OFFERS = {
    "t4-16gb": ("T4", 16),
    "l4-24gb": ("L4", 24),
    "a10g-24gb": ("A10G", 24),
    "rtx4090-24gb": ("RTX4090", 24),
    "rtx5090-32gb": ("RTX5090", 32),
    "l40s-48gb": ("L40S", 48),
    "rtxa6000-48gb": ("A6000", 48),
    "a100-40gb": ("A100", 40),
    "a100-80gb": ("A100", 80),
    "h100-80gb": ("H100", 80),
    "h200-141gb": ("H200", 141),
    "b200-180gb": ("B200", 180),
    "rtxpro6000-96gb": ("RTXPRO6000", 96),
    "mi300x-192gb": ("MI300X", 192),
}
"""Profiles as gpuhunt names them: the accelerator and its memory in GB."""
MEMORY_TOLERANCE = 0.07
"""Relative difference of memory sizes that are the same; clouds round them in their own ways."""
CHANGE_MAX = 10.0
"""A price that rose or fell by more is a mistake of somebody's, and is not taken."""
PLAIN = re.compile(r"[A-Za-z][\w ./,()+-]*")
"""A text that YAML reads as itself without quotes."""
MISSING = "gpuhunt is not installed here; run `python -m pip install gpuhunt`, then this again."


class Offer(Protocol):
    """An instance that a cloud lets, as gpuhunt describes it."""

    provider: str
    instance_name: str
    location: str
    price: float
    """Of the whole instance, in US dollars per hour."""
    gpu_count: int
    gpu_name: str | None
    gpu_memory: float | None
    """Of one device, in GB."""
    spot: bool


Ask = Callable[[str, int], Sequence[Offer]]
"""Returns what is offered of an accelerator, by its name and its memory in GB."""


@dataclass(frozen=True)
class Price:
    """What one device costs."""

    micro_usd_per_hour: int
    source: str


class NoAnswer(Exception):
    """The catalogue of offers cannot be read; the message says why, on one line."""


def open_gpuhunt() -> Ask:
    """Load gpuhunt's published catalogues of clouds, and return how to ask them.

    Marketplaces that it would ask live are left out: their prices move by the minute, and one that
    does not answer leaves no answer at all.

    Raises:
        NoAnswer: If gpuhunt is not installed, or has no catalogue.
    """
    try:
        import gpuhunt  # Optional, and not needed to run a scheduler.
    except ImportError:
        raise NoAnswer(MISSING) from None
    logging.getLogger("gpuhunt").setLevel(logging.CRITICAL)  # Else a page for each failed cloud.
    catalogue = gpuhunt.Catalog(auto_reload=False)
    try:
        catalogue.load()
    except (gpuhunt.GPUHuntError, OSError) as error:
        text = " ".join(str(error).split())
        raise NoAnswer(f"gpuhunt has no answer ({text}); nothing was changed.") from error

    def ask(name: str, memory_gb: int) -> Sequence[Offer]:
        found: Sequence[Offer] = catalogue.query(
            gpu_name=name,
            min_gpu_memory=memory_gb * (1 - MEMORY_TOLERANCE),
            max_gpu_memory=memory_gb * (1 + MEMORY_TOLERANCE),
            min_gpu_count=1,
            spot=False,
        )
        return found

    return ask


def lowest(profile: Profile, offers: Iterable[Offer]) -> Price | None:
    """Return the lowest price of one device on demand, or None if nobody offers one.

    Args:
        profile: With an entry in OFFERS.
        offers: Any; those of other devices, and interruptible ones, do not count.
    """
    name, memory_gb = OFFERS[profile.id]
    fitting = [
        offer
        for offer in offers
        if not offer.spot
        and offer.gpu_count > 0
        and offer.price > 0
        and (offer.gpu_name or "").lower() == name.lower()
        and abs((offer.gpu_memory or 0) - memory_gb) <= MEMORY_TOLERANCE * memory_gb
        # A card without the link that the profile promises is another, cheaper thing.
        and not (profile.interconnect and "pcie" in offer.instance_name.lower())
    ]
    if not fitting:
        return None
    best = min(
        fitting,
        key=lambda offer: (
            offer.price / offer.gpu_count,
            offer.provider,
            offer.instance_name,
            offer.location,
        ),
    )
    share = f"/{best.gpu_count}" if best.gpu_count > 1 else ""
    source = f"{best.provider} {best.instance_name}{share} in {best.location}, lowest of gpuhunt"
    return Price(round(best.price / best.gpu_count * 1e6), source)


def with_prices(text: str, prices: Mapping[str, Price], today: date) -> str:
    """Return the text of a file of profiles with other prices, and all else as it was.

    Args:
        text: Of the file.
        prices: By profile id.
        today: When they were asked.

    Raises:
        ValueError: If an entry lacks one of the three lines, or the text is no list of profiles.
    """
    lines, profile = text.splitlines(keepends=True), ""
    for index, line in enumerate(lines):
        if found := re.match(r"- id: (\S+)", line):
            profile = found.group(1)
        price = prices.get(profile)
        field = re.match(r"  (price_\w+): ", line)
        if price is None or field is None:
            continue
        values = {
            "price_micro_usd_per_hour": str(price.micro_usd_per_hour),
            "price_date": today.isoformat(),
            "price_source": _scalar(price.source),
        }
        name = field.group(1)
        lines[index] = f"  {name}: {values[name]}\n"
    changed = "".join(lines)
    profiles = read_profiles(changed)
    for name, price in prices.items():
        known = profiles[name]
        told = (known.price_micro_usd_per_hour, known.price_date, known.price_source)
        if told != (price.micro_usd_per_hour, today, price.source):
            raise ValueError(
                f"{name} needs price_micro_usd_per_hour, _date and _source, a line each"
            )
    return changed


def refresh(path: Path, ask: Ask, today: date, *, write: bool) -> int:
    """Ask for the price of every profile, print what differs, and write it.

    Args:
        path: Of the file of profiles.
        ask: Whom to ask.
        today: What is written as the date.
        write: Whether to change the file.

    Returns:
        How many profiles have no new price.

    Raises:
        ValueError: If the file is no list of profiles, or lacks a line for a price.
    """
    text = path.read_text()
    found: dict[str, Price] = {}
    kept = 0
    for profile in read_profiles(text).values():
        if profile.id not in OFFERS:
            continue
        price = lowest(profile, ask(*OFFERS[profile.id]))
        before = profile.price_micro_usd_per_hour
        if price is None:
            kept += 1
            sys.stderr.write(f"{profile.id}: nobody offers it; {_usd(before)} stays.\n")
        elif not 1 / CHANGE_MAX <= price.micro_usd_per_hour / before <= CHANGE_MAX:
            kept += 1
            told = f"{_usd(price.micro_usd_per_hour)} ({price.source})"
            sys.stderr.write(f"{profile.id}: {told} is no likely price; {_usd(before)} stays.\n")
        else:
            found[profile.id] = price
            told = f"{_usd(before)} -> {_usd(price.micro_usd_per_hour)}"
            sys.stdout.write(f"{profile.id}: {told}, {price.source}\n")
    changed = with_prices(text, found, today)
    if write:
        path.write_text(changed)
    return kept


def _scalar(text: str) -> str:
    """Return a text as YAML has it on one line."""
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _usd(micro_usd: int) -> str:
    return f"${micro_usd / 1e6:.4g}"


def main(arguments: Sequence[str] | None = None, ask: Ask | None = None) -> int:
    """Run the command; returns 1 when a profile has no new price.

    Args:
        arguments: Of the command; those of the process when None.
        ask: Whom to ask; gpuhunt when None.
    """
    parser = argparse.ArgumentParser(
        prog="python -m services.scheduler.price_refresh",
        description="Writes today's lowest prices on demand into the profiles, by gpuhunt.",
    )
    parser.add_argument("--dry-run", action="store_true", help="print, and change nothing")
    parser.add_argument("--file", type=Path, default=PROFILES, help="profiles to refresh")
    options = parser.parse_args(arguments)
    today = datetime.now(UTC).date()
    try:
        kept = refresh(options.file, ask or open_gpuhunt(), today, write=not options.dry_run)
    except (NoAnswer, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 1 if kept else 0


if __name__ == "__main__":
    raise SystemExit(main())
