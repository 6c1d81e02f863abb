"""Makes small files and their reports, in process."""

import json
from pathlib import Path

from attune.planner.v1 import dataset_pb2

from services.planner.dataset.file import read_format
from services.planner.dataset.report import Others, Sample, build_report, read_sample
from services.planner.dataset.report_structure import read_structure


def chat(question: str, answer: str = "It leaves at nine.") -> dict:
    """Return a good chat row."""
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


TOPICS = (
    "bus",
    "tram",
    "ferry",
    "lift",
    "bridge",
    "tunnel",
    "kiosk",
    "garden",
    "museum",
    "harbour",
    "cinema",
    "library",
)


def chats(count: int = 12) -> list[dict]:
    """Return good rows that share little."""
    return [
        chat(f"What about the {TOPICS[n % 12]} {n * 37}?", f"The {TOPICS[n % 12]} opens, {n}.")
        for n in range(count)
    ]


def pairs(prompt: str = "prompt", answer: str = "completion", **more: object) -> list[dict]:
    """Return good rows with a prompt and an answer."""
    return [
        {prompt: f"Where is the {topic}, and its door {n * 31}?", answer: f"At {n}.", **more}
        for n, topic in enumerate(TOPICS)
    ]


def lines(rows: list) -> bytes:
    """Return rows as a JSONL file; bytes stand for a line as it is."""
    return b"".join(
        (row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows
    )


def structure_of(folder: Path, content: bytes, name: str = "x.jsonl", **settings: int):
    """Return what the first pass says of a file."""
    path = folder / name
    path.write_bytes(content)
    return read_structure(path, read_format(name, ""), **settings)


def report_of(folder: Path, content: bytes, name: str = "x.jsonl") -> dataset_pb2.DatasetReport:
    """Return the report of a file."""
    structure = structure_of(folder, content, name)
    rows = read_sample(folder / name, read_format(name, ""), structure)
    return build_report(structure, Sample([view for view, _ in rows]), Others())


def found_in(report: dataset_pb2.DatasetReport) -> list[tuple[int, str, str]]:
    """Return line, code and field of every finding."""
    return [(each.line, each.code, each.field) for each in report.findings]
