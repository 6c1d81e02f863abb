"""What may be published: weights as safetensors, text beside them, and nothing that can run."""

from __future__ import annotations

from pathlib import Path

from services.trainer.run import RunFailed

SUFFIXES = frozenset(
    {".safetensors", ".json", ".jsonl", ".md", ".html", ".jinja", ".txt", ".model"}
)
"""Kinds of files that hold data alone; pickled ones execute what they were given when read."""
WEIGHTS = ".safetensors"
BEGINNINGS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04", b"\x7fELF")
"""First bytes of pickles, of the archives that hold them, and of programs, whatever the name."""


def check_safe(folder: Path) -> None:
    """Refuse a folder with a file that could run something.

    Raises:
        RunFailed: With the name of the first such file.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or path.suffix not in SUFFIXES or _begins_like_code(path):
            raise RunFailed(
                "UNSAFE_FILE",
                f"{path.name} would be published and could run code. Only safetensors and text "
                "may be; see what wrote it.",
            )


def _begins_like_code(path: Path) -> bool:
    with path.open("rb") as file:
        beginning = file.read(9)
    if path.suffix == WEIGHTS:
        # The length of its header, eight bytes, then the header, which is JSON. The length may
        # have any bytes, so nothing else can be told from them.
        size = int.from_bytes(beginning[:8], "little")
        return beginning[8:] != b"{" or size > path.stat().st_size
    return beginning.startswith(BEGINNINGS)
