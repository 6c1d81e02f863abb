"""The protos as data, comments included."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import generate
from google.protobuf import descriptor_pb2
from grpc_tools import protoc


@cache
def file_set() -> descriptor_pb2.FileDescriptorSet:
    """Return the descriptors of our own files, with source info."""
    sources = [str(path.relative_to(generate.ROOT)) for path in generate.ROOT.rglob("*.proto")]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        flags = [f"--descriptor_set_out={out}", "--include_source_info"]
        assert protoc.main(["protoc", *generate.include_paths(), *flags, *sorted(sources)]) == 0
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def commented(files: descriptor_pb2.FileDescriptorSet) -> Iterator[tuple[str, str, Any]]:
    """Yield full name, leading comment and descriptor of every element."""
    for file in files.file:
        comments = {
            tuple(location.path): " ".join(location.leading_comments.split())
            for location in file.source_code_info.location
        }
        for index, service in enumerate(file.service):
            name = f"{file.package}.{service.name}"
            yield name, comments.get((6, index), ""), service
            for position, method in enumerate(service.method):
                comment = comments.get((6, index, 2, position), "")
                yield f"{name}.{method.name}", comment, method
        for index, message in enumerate(file.message_type):
            yield from _message(message, file.package, (4, index), comments)
        for index, enum in enumerate(file.enum_type):
            yield from _enum(enum, file.package, (5, index), comments)


def _message(
    message: Any, scope: str, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
) -> Iterator[tuple[str, str, Any]]:
    if message.options.map_entry:
        return
    name = f"{scope}.{message.name}"
    yield name, comments.get(path, ""), message
    for index, field in enumerate(message.field):
        yield f"{name}.{field.name}", comments.get((*path, 2, index), ""), field
    for index, nested in enumerate(message.nested_type):
        yield from _message(nested, name, (*path, 3, index), comments)
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, name, (*path, 4, index), comments)


def _enum(
    enum: Any, scope: str, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
) -> Iterator[tuple[str, str, Any]]:
    yield f"{scope}.{enum.name}", comments.get(path, ""), enum
    for index, value in enumerate(enum.value):
        yield f"{scope}.{enum.name}.{value.name}", comments.get((*path, 2, index), ""), value
