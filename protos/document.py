"""Writes the pages under docs/ that are made from the protos' comments and from tables of codes.

Run `python protos/document.py`; a test refuses pages that are not current.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from descriptors import file_set
from google.protobuf import descriptor_pb2

from services.planner.dataset import findings
from services.planner.plan import notices

ROOT = Path(__file__).parents[1]
FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    FIELD.TYPE_DOUBLE: "double",
    FIELD.TYPE_INT64: "int64",
    FIELD.TYPE_BOOL: "bool",
    FIELD.TYPE_STRING: "string",
    FIELD.TYPE_BYTES: "bytes",
}
API_HEAD = """# The gRPC API

Made by `make docs` from the comments in `protos/`; do not edit.

- Names follow [AIP-122](https://google.aip.dev/122): `projects/{{project}}/specs/{{spec}}`.
- Every mutation takes a `request_id`, a UUID: a repeat returns the first answer.
- Errors are a `google.rpc.Status` that always carries an `ErrorInfo`; `BadRequest` names every bad
  field, `RetryInfo` says when to come again.
- A unary call without a deadline gets 60 seconds. Requests are at most 4 MiB.
- Every server answers `grpc.health.v1` and reflection.

## A client, whole

This is `examples/client.py`; a test runs it.

```python
{example}```
"""
EVENTS_HEAD = """# The events

Made by `make docs` from the comments in `protos/`; do not edit.

{comment}

An event looks like this:

```json
{{
  "specversion": "1.0",
  "id": "a01kapx1v2n8n2k3w2w7m7q4d9b",
  "source": "/attune/scheduler",
  "type": "attune.v1.job.succeeded",
  "subject": "projects/default/jobs/a01kapwz",
  "time": "2026-11-21T09:30:00+00:00",
  "datacontenttype": "application/json",
  "dataschema": "attune.events.v1.JobSucceeded",
  "data": {{"job": {{"name": "projects/default/jobs/a01kapwz", "state": "STATE_SUCCEEDED"}}}}
}}
```

What cannot be read, or fails five times, is kept in the stream `ATTUNE_DLQ` under
`attune.dlq.<project>.<kind>.<id>.<event>` with the consumer and the reason in its headers.

| event | subject | source | meaning | `data` |
|---|---|---|---|---|
{rows}

## A consumer, whole

This is `examples/consumer.py`; a test runs it.

```python
{example}```
"""


def comments_of(file: Any) -> dict[tuple[int, ...], str]:
    """Return the leading comment of every element of a file by its path in the descriptor."""
    return {
        tuple(location.path): location.leading_comments.strip()
        for location in file.source_code_info.location
    }


def one_line(comment: str) -> str:
    """Return a comment on one line that is safe inside a table."""
    return " ".join(comment.split()).replace("|", "\\|")


def prose(comment: str) -> str:
    """Return a comment as Markdown: its sentences, then its errors as a list."""
    text, _, errors = comment.partition("Errors:")
    lines = [" ".join(text.split())]
    if errors.strip():
        items = re.sub(r"\n\s{4,}", " ", errors).strip().splitlines()
        lines += ["", "Errors:", "", *(f"- {' '.join(item.split())}" for item in items)]
    return "\n".join(lines)


def type_of(field: Any) -> str:
    """Return a field's type as people write it."""
    name = SCALARS.get(field.type) or field.type_name.removeprefix(".")
    name = re.sub(r"^attune\.\w+\.v1\.", "", name)
    if name.endswith("ValuesEntry"):
        return "map&lt;string, double&gt;"
    if field.label == FIELD.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name


def message_lines(
    message: Any, path: tuple[int, ...], comments: dict[tuple[int, ...], str], scope: str = ""
) -> Iterable[str]:
    """Yield the section of one message and of the enums inside it."""
    if message.options.map_entry:
        return
    name = scope + message.name
    yield f"\n#### {name}\n\n{prose(comments.get(path, ''))}\n"
    if message.field:
        yield "| field | type | |\n|---|---|---|"
    for index, field in enumerate(message.field):
        comment = one_line(comments.get((*path, 2, index), ""))
        yield f"| `{field.name}` | {type_of(field)} | {comment} |"
    for index, nested in enumerate(message.nested_type):
        yield from message_lines(nested, (*path, 3, index), comments, f"{name}.")
    for index, enum in enumerate(message.enum_type):
        yield from enum_lines(enum, (*path, 4, index), comments, f"{name}.")


def enum_lines(
    enum: Any, path: tuple[int, ...], comments: dict[tuple[int, ...], str], scope: str = ""
) -> Iterable[str]:
    """Yield the section of one enum."""
    yield f"\n#### {scope}{enum.name}\n\n{prose(comments.get(path, ''))}\n"
    yield "| value | |\n|---|---|"
    for index, value in enumerate(enum.value):
        yield f"| `{value.name}` | {one_line(comments.get((*path, 2, index), ''))} |"


def service_lines(service: Any, index: int, comments: dict[tuple[int, ...], str]) -> Iterable[str]:
    """Yield the section of one service with all its methods."""
    yield f"\n### {service.name}\n\n{prose(comments.get((6, index), ''))}"
    for position, method in enumerate(service.method):
        sent, got = (kind.rsplit(".", 1)[1] for kind in (method.input_type, method.output_type))
        sent = f"stream {sent}" if method.client_streaming else sent
        got = f"stream {got}" if method.server_streaming else got
        yield f"\n**{method.name}** (`{sent}`) returns (`{got}`)\n"
        yield prose(comments.get((6, index, 2, position), ""))


def api_page() -> str:
    """Return docs/api.md: services first, then every message they use."""
    lines = [API_HEAD.format(example=(ROOT / "examples" / "client.py").read_text())]
    files = [file for file in file_set().file if not file.package.startswith("attune.events")]
    order = ["planner", "scheduler", "trainer", "serving", "spec"]
    for file in sorted(files, key=lambda file: order.index(file.package.split(".")[1])):
        comments = comments_of(file)
        summary = one_line(comments.get((12,), ""))
        lines.append(f"\n## {file.name}\n\n`package {file.package};` {summary}")
        for index, service in enumerate(file.service):
            lines += service_lines(service, index, comments)
        for index, enum in enumerate(file.enum_type):
            lines += enum_lines(enum, (5, index), comments)
        for index, message in enumerate(file.message_type):
            lines += message_lines(message, (4, index), comments)
    return "\n".join(lines) + "\n"


def events_page() -> str:
    """Return docs/events.md: the envelope, every event, a consumer."""
    file = next(file for file in file_set().file if file.package == "attune.events.v1")
    comments, rows = comments_of(file), []
    for index, message in enumerate(file.message_type):
        found = re.match(r"Event `([a-z_.]+)`, by (the )?(\w+): (.*)", one_line(comments[4, index]))
        if found is None:
            raise SystemExit(f"{message.name}: its comment must open with: Event `x.y`, by z: ...")
        event, _, source, meaning = found.groups()
        kind, happened = event.split(".")
        data = "; ".join(
            f"`{field.name}`: {type_of(field)}. {one_line(comments[4, index, 2, position])}"
            for position, field in enumerate(message.field)
        )
        subject = f"attune.v1.&lt;project&gt;.{kind}.&lt;id&gt;.{happened}"
        rows.append(f"| `{event}` | {subject} | {source} | {meaning} | {data} |")
    return EVENTS_HEAD.format(
        comment=one_line(comments[12,]).replace(" A package", "\n\nA package"),
        rows="\n".join(rows),
        example=(ROOT / "examples" / "consumer.py").read_text(),
    )


PAGES = {
    "api.md": api_page,
    "events.md": events_page,
    "notices.md": notices.page,
    "findings.md": findings.page,
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page())


if __name__ == "__main__":
    main()
