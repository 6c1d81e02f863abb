"""Prices are refreshed from a recorded answer, and nothing else in the file moves.

`gpuhunt_offers.csv` has the columns of gpuhunt's own catalogues, with the provider in front, and a
few offers such as clouds make.
"""

import builtins
import csv
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.scheduler import price_refresh
from services.scheduler.catalogue import PROFILES, read_profiles
from services.scheduler.price_refresh import MISSING, OFFERS, Price, with_prices
from tests.scheduler.factories import CATALOGUE

RECORDED = Path(__file__).with_name("gpuhunt_offers.csv")
TODAY = date(2026, 11, 21)
NUMBERS = {"price": float, "gpu_count": int, "gpu_memory": float}


def recorded() -> list[SimpleNamespace]:
    with RECORDED.open(newline="") as lines:
        return [
            SimpleNamespace(
                **{name: NUMBERS.get(name, str)(value) for name, value in row.items()}
                | {"spot": row["spot"] == "True"}
            )
            for row in csv.DictReader(lines)
        ]


def ask(name: str, memory_gb: int) -> list[SimpleNamespace]:
    return recorded()


@pytest.fixture
def profiles(tmp_path):
    path = tmp_path / "profiles.yaml"
    path.write_text(PROFILES.read_text())
    return path


def test_every_priced_profile_is_asked_for_and_nothing_else():
    priced = {one.id for one in CATALOGUE.profiles.values() if one.price_micro_usd_per_hour}
    assert set(OFFERS) == priced
    for profile, (_, memory_gb) in OFFERS.items():
        assert profile.endswith(f"-{memory_gb}gb")


@pytest.mark.parametrize(
    ("profile", "micro_usd", "words"),
    [
        ("t4-16gb", 526_000, "aws g4dn.xlarge in us-east-1"),  # Not the interruptible one.
        ("l4-24gb", 390_000, "runpod NVIDIA L4 in EU-RO-1"),  # Not an eighth of the dearer node.
        ("h100-80gb", 2_990_000, "runpod NVIDIA H100 80GB HBM3"),  # Not the card without NVLink.
        ("a100-40gb", 1_990_000, "lambdalabs gpu_8x_a100/8 in us-east-1"),  # By memory.
        ("a100-80gb", 2_790_000, "lambdalabs gpu_8x_a100_80gb_sxm4/8"),
        ("rtx4090-24gb", 275_000, "cloudrift rtx49-7c-kn.2/2 in us-east-nc-nr-1"),
        ("mi300x-192gb", 1_990_000, "runpod AMD Instinct MI300X OAM in EU-RO-1"),
    ],
)
def test_the_lowest_price_on_demand_of_one_device_is_taken(profile, micro_usd, words):
    price = price_refresh.lowest(CATALOGUE.profiles[profile], recorded())
    assert price.micro_usd_per_hour == micro_usd
    assert price.source.startswith(words)
    assert price.source.endswith("lowest of gpuhunt")


def test_the_file_keeps_every_line_but_those_of_the_prices(profiles, capsys):
    before = profiles.read_text()
    kept = price_refresh.refresh(profiles, ask, TODAY, write=True)
    after = profiles.read_text()
    changed = [
        (old, new)
        for old, new in zip(before.splitlines(), after.splitlines(), strict=True)
        if old != new
    ]
    assert changed
    for old, new in changed:
        assert old.split(":")[0] == new.split(":")[0]
        assert old.strip().startswith("price_")
    known = read_profiles(after)
    assert known["l4-24gb"].price_micro_usd_per_hour == 390_000
    assert known["l4-24gb"].price_date == TODAY
    out, err = capsys.readouterr()
    assert "l4-24gb: $0.8048 -> $0.39, runpod NVIDIA L4" in out
    assert "b200-180gb: nobody offers it; $5 stays." in err
    assert "l40s-48gb: $0.0004 (verda 1L40S.20V" in err  # A mistake is not a bargain.
    assert known["l40s-48gb"] == CATALOGUE.profiles["l40s-48gb"]
    assert kept == err.count("stays.") == len(OFFERS) - 7


def test_a_second_time_changes_nothing_and_a_dry_run_writes_nothing(profiles):
    before = profiles.read_text()
    price_refresh.refresh(profiles, ask, TODAY, write=False)
    assert profiles.read_text() == before
    price_refresh.refresh(profiles, ask, TODAY, write=True)
    once = profiles.read_text()
    price_refresh.refresh(profiles, ask, TODAY, write=True)
    assert profiles.read_text() == once != before


@pytest.mark.parametrize("source", ["a: b # c", '"', "7", "- x", "null, {}", "Z\u00fcrich [1]"])
def test_a_source_that_yaml_would_misread_is_quoted(source):
    text = with_prices(PROFILES.read_text(), {"t4-16gb": Price(1, source)}, TODAY)
    assert read_profiles(text)["t4-16gb"].price_source == source


def test_an_entry_without_a_line_for_its_date_is_refused():
    text = PROFILES.read_text().replace("  price_date: 2025-11-30\n", "")
    with pytest.raises(ValueError, match="t4-16gb needs price_micro_usd_per_hour, _date"):
        with_prices(text, {"t4-16gb": Price(1, "x")}, TODAY)


def test_the_command_writes_todays_date(profiles):
    code = price_refresh.main(["--file", str(profiles)], ask)
    assert code == 1  # Not every profile has an offer.
    today = datetime.now(UTC).date()
    assert read_profiles(profiles.read_text())["t4-16gb"].price_date == today


def test_without_the_package_one_line_says_what_to_install(profiles, capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "gpuhunt":
            raise ModuleNotFoundError("No module named 'gpuhunt'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    before = profiles.read_text()
    assert price_refresh.main(["--file", str(profiles)]) == 1
    assert capsys.readouterr().err == f"{MISSING}\n"
    assert profiles.read_text() == before


class NoCatalogue(Exception):
    """Stands for the error of the package."""


class NoCatalog:
    """Stands for the package's catalogue without a network."""

    def __init__(self, auto_reload):
        pass

    def load(self):
        raise NoCatalogue("Failed to load\ncatalogs")


def test_a_catalogue_that_cannot_be_had_is_said_on_one_line(profiles, capsys, monkeypatch):
    package = SimpleNamespace(Catalog=NoCatalog, GPUHuntError=NoCatalogue)
    monkeypatch.setitem(sys.modules, "gpuhunt", package)
    before = profiles.read_text()
    assert price_refresh.main(["--file", str(profiles)]) == 1
    told = "gpuhunt has no answer (Failed to load catalogs); nothing was changed.\n"
    assert capsys.readouterr().err == told
    assert profiles.read_text() == before
