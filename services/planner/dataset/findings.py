"""What can be wrong, or odd, in a file: one table of codes, from which docs/findings.md is made."""

from __future__ import annotations

from dataclasses import dataclass

from attune.planner.v1 import dataset_pb2

Severity = dataset_pb2.Finding.Severity
WARNING = dataset_pb2.Finding.SEVERITY_WARNING
ERROR = dataset_pb2.Finding.SEVERITY_ERROR
WHOLE_FILE = 0
"""Line of a finding about the file rather than a row."""
REPORT_FAILED = "report_failed"
"""Code of a finding about us rather than the file."""


@dataclass(frozen=True)
class Finding:
    """One fault of one row, or of the whole file."""

    line: int
    """Physical line, from 1, counted by LF; row number where there are no lines; 0 for the file."""
    code: str
    """A key of CODES."""
    field: str
    """Place in the row, such as `messages[2].role`; empty for the whole row."""
    message: str
    """What is wrong, with the value unless it is secret or personal."""
    remedy: str
    """What to do."""
    severity: Severity.ValueType
    """WARNING or ERROR."""


@dataclass(frozen=True)
class Code:
    """What one code means, wherever it is found."""

    severity: Severity.ValueType
    """WARNING or ERROR."""
    meaning: str
    """One sentence."""
    remedy: str
    """What to do, one sentence."""


def found(code: str, line: int, message: str, field: str = "") -> Finding:
    """Return a finding with the severity and the remedy that its code has in the table.

    Args:
        code: A key of CODES.
        line: From 1; 0 for the whole file.
        message: What is wrong here, one sentence.
        field: Place in the row; empty for the whole row.
    """
    known = CODES[code]
    return Finding(line, code, field, message, known.remedy, known.severity)


def to_proto(finding: Finding) -> dataset_pb2.Finding:
    """Return a finding as a message."""
    return dataset_pb2.Finding(
        line=finding.line,
        code=finding.code,
        field=finding.field,
        message=finding.message,
        remedy=finding.remedy,
        severity=finding.severity,
    )


def _error(meaning: str, remedy: str) -> Code:
    return Code(ERROR, meaning, remedy)


def _warning(meaning: str, remedy: str) -> Code:
    return Code(WARNING, meaning, remedy)


CODES: dict[str, Code] = {
    # The file.
    "empty_file": _error(
        "The file has no bytes, or only blanks.", "Upload the file that holds the rows."
    ),
    "encoding_not_utf8": _error(
        "The bytes are not UTF-8 (UTF-16 and Latin-1 are the usual ones).",
        "Save the file as UTF-8 and upload it again.",
    ),
    "bom": _warning(
        "The file starts with a UTF-8 byte order mark.",
        "Save it as UTF-8 without the mark; it is skipped here.",
    ),
    "crlf_line_endings": _warning(
        "Lines end with CR LF.", "Save it with LF line ends; the CR is skipped here."
    ),
    "looks_like_csv": _error(
        "The content is a table of comma-separated values.",
        "Upload it as CSV: name it .csv, or say `--format csv`.",
    ),
    "json_array_not_lines": _error(
        "The content is one JSON array instead of one object on each line.",
        "Upload it as JSON: name it .json, or say `--format json`; or write one row per line.",
    ),
    "looks_like_jsonl": _error(
        "The content is one JSON object on each line.",
        "Upload it as JSONL: name it .jsonl, or say `--format jsonl`.",
    ),
    "looks_like_gzip": _error(
        "The content is compressed with gzip.",
        "Name the file by what it is, such as .jsonl.gz, or say `--format jsonl.gz`.",
    ),
    "looks_like_zstd": _error(
        "The content is compressed with zstd.",
        "Name the file by what it is, such as .jsonl.zst, or say `--format jsonl.zst`.",
    ),
    "looks_like_parquet": _error(
        "The content is a Parquet file.",
        "Upload it as Parquet: name it .parquet, or say `--format parquet`.",
    ),
    "looks_like_html": _error(
        "The content is an HTML page, often a log-in page saved in place of the file.",
        "Download the file itself, signed in, and upload that.",
    ),
    "unreadable_file": _error(
        "The content is not what its format says, or is broken.",
        "Export the file again, or name the format that it has with `--format`.",
    ),
    "decoded_too_large": _error(
        "The file grows beyond the bound when it is decompressed.",
        "Split it, or raise ATTUNE_PLANNER_DECODED_BYTES_MAX if you trust it.",
    ),
    REPORT_FAILED: _error(
        "The report could not be made because of a fault on our side.",
        "Upload the file again; if it happens again, tell who runs the planner.",
    ),
    "bad_header": _error(
        "The first line of a table does not name each column once.",
        "Write a first line that names every column, each name once.",
    ),
    "too_few_rows": _error(
        "There are fewer than 10 rows.", "Add rows: 10 is the least, 50 to 100 a good start."
    ),
    # Lines.
    "invalid_json": _error(
        "The line is not one JSON value (NaN and Infinity are none).",
        "Write the row with a JSON library, on one line.",
    ),
    "truncated_last_line": _error(
        "The last line breaks off and has no line end: the file was cut.",
        "Export or copy the file again; check its size.",
    ),
    "nul_byte": _error(
        "The line holds a NUL byte.", "Remove the byte; often a file was copied while written."
    ),
    "blank_line": _warning("The line is empty or only blanks.", "Remove it; it is skipped here."),
    "line_too_long": _error(
        "The line has more than 1,000,000 bytes.", "Shorten the row or split it into several."
    ),
    "wrong_cell_count": _error(
        "The row of a table has more or fewer cells than the header.",
        "Quote cells that hold commas or line ends, and double the quotes inside them.",
    ),
    "nesting_too_deep": _error(
        "The value is nested more than 100 levels deep.", "Flatten the value; rows are shallow."
    ),
    "duplicate_key": _error(
        "One object has the same key twice, so one of the values would be lost.",
        "Keep the value that is meant.",
    ),
    "lone_surrogate": _error(
        "An escape names half a surrogate pair, which is no character.",
        "Write the character itself, or both halves.",
    ),
    # Rows.
    "row_not_object": _error(
        "The row is a string, number, list or null instead of an object.",
        'Write an object, such as {"messages": [...]}.',
    ),
    "unknown_shape": _error(
        "The row has none of the known shapes.",
        "Write messages, prompt and completion, prompt with chosen and rejected, or text.",
    ),
    "mixed_shapes": _error(
        "The row has a different shape from the first row.",
        "Put rows of different shapes into different files.",
    ),
    "messages_not_list": _error(
        "The messages are not a list.", "Write a list of objects with role and content."
    ),
    "empty_messages": _error("The list of messages is empty.", "Add the messages or drop the row."),
    "missing_role": _error("A message has no role.", "Say who speaks: system, user or assistant."),
    "unknown_role": _error(
        "A role is none of system, user, assistant and tool.", "Use one of the four, in lower case."
    ),
    "missing_content": _error(
        "Content is absent or null where it is needed.", "Write the text that is said there."
    ),
    "wrong_type": _error(
        "A number, boolean, list or object stands where text (or a list) belongs.",
        "Write the value in the type that is named; quote labels and numbers.",
    ),
    "empty_completion": _error(
        "The answer is empty or only blanks.", "Write the answer or drop the row."
    ),
    "no_assistant_message": _error(
        "No message is the assistant's, so there is nothing to learn.",
        "Add the answer as a message of the assistant.",
    ),
    "last_role_not_assistant": _error(
        "A row to learn from ends with another role than the assistant.",
        "End it with the assistant's answer.",
    ),
    "system_not_first": _error(
        "A system message stands after the first place.", "Move its text to the first message."
    ),
    "consecutive_same_role": _error(
        "Two messages in a row are the user's, or the assistant's.", "Join them into one."
    ),
    "unknown_key": _warning(
        "A key does not belong to the shape; training ignores it.",
        "Remove it, or mend its spelling.",
    ),
    "invalid_weight": _error(
        "A weight is neither the integer 0 nor 1.", "Use 1 to learn the message, 0 to skip it."
    ),
    "nothing_to_train": _error(
        "Every message of the assistant has weight 0.", "Give weight 1 to the answer to learn."
    ),
    "missing_prompt": _error("The row has no prompt.", "Write what the model is asked."),
    "missing_completion": _error("The row has no answer.", "Write the answer or drop the row."),
    "missing_reference": _error(
        "The row has no reference to grade an answer with (0, false and [] are references).",
        "Write the right answer, or drop the row.",
    ),
    "last_role_not_user": _error(
        "The messages of a prompt do not end with the user.",
        "End with the user's message; the model writes what follows.",
    ),
    # Tools.
    "tool_arguments_not_json": _error(
        "The arguments of a call are text that is not JSON.", "Write a JSON object as text."
    ),
    "tool_arguments_not_string": _error(
        "The arguments of a call are an object instead of JSON text.",
        "Encode the object once, as text.",
    ),
    "tool_arguments_not_object": _warning(
        "The arguments of a call decode to something other than an object.",
        "Encode an object, and only once.",
    ),
    "tool_call_id_missing": _error(
        "A call, or the tool's message, has no id.", "Give each call an id and name it in answers."
    ),
    "tool_call_id_unknown": _error(
        "A tool's message answers no earlier call.", "Name the id of the call that it answers."
    ),
    "tool_schema_missing": _error(
        "A tool has no parameters object.",
        'Write its JSON schema; {"type": "object", "properties": {}} when it takes nothing.',
    ),
    "tool_name_missing": _error("A tool has no function name.", "Name the function."),
    "tool_not_declared": _error(
        "The called function is not among the row's tools.", "Add the tool, or mend the name."
    ),
    # Preferences.
    "chosen_equals_rejected": _error(
        "The preferred and the rejected answer are equal, blanks at the ends aside.",
        "Write two different answers or drop the row.",
    ),
    "preference_not_single": _error(
        "There is not exactly one preferred, or one rejected, message.",
        "Keep one message on each side; put the talk before it into the input.",
    ),
    "preference_role": _error(
        "The preferred or rejected message is not the assistant's.", "Make it the assistant's."
    ),
    "missing_rejected": _error("There is no rejected answer.", "Add the worse answer."),
    # Length.
    "answer_truncated": _error(
        "At 4,096 tokens nothing of the answer is left.", "Shorten the prompt or split the row."
    ),
    "row_too_long": _warning(
        "At 4,096 tokens the end of the answer is cut off.", "Shorten the row or split it."
    ),
    # Rows against each other.
    "duplicate_row": _warning(
        "The row equals an earlier one, whatever the order of keys and the spacing.",
        "Keep one of them.",
    ),
    "near_duplicate_row": _warning(
        "The prompt nearly equals that of an earlier row, with an equal answer.",
        "Keep one of them, or make the prompts differ in what matters.",
    ),
    "train_test_overlap": _error(
        "The prompt also stands in the hold-out file, so its score would be too good.",
        "Remove the row from one of the two files.",
    ),
    "train_test_near_overlap": _error(
        "The prompt nearly equals one of the hold-out file.",
        "Remove the row from one of the two files.",
    ),
    "contradictory_labels": _warning(
        "The same prompt stands earlier with another label.", "Decide which label is right."
    ),
    "label_imbalance": _warning(
        "One label has 90 percent or more of at least 50 rows.",
        "Add rows with the other labels, or judge by macro F1 rather than accuracy.",
    ),
    "all_prompts_identical": _warning(
        "Every row has the same prompt, so the model can learn to ignore it.",
        "Write the prompts that users really send.",
    ),
    "boilerplate_answers": _warning(
        "Many answers open with the same words, whatever was asked, so every answer will.",
        "Cut the phrase from the rows, unless it is wanted.",
    ),
    # What the texts hold.
    "secret_found": _warning(
        "The text holds a key, a token, a password or a private key.",
        "Remove it and revoke it: whoever has the model may get it out.",
    ),
    "pii_email": _warning(
        "The text holds an e-mail address.", "Replace it with a made-up one, if it is a person's."
    ),
    "pii_phone": _warning(
        "The text holds a phone number.", "Replace it with a made-up one, if it is a person's."
    ),
    "pii_card": _warning(
        "The text holds the number of a payment card, with a valid check digit.",
        "Replace it with a test number.",
    ),
    "pii_iban": _warning(
        "The text holds the number of a bank account.", "Replace it with an invented one."
    ),
    "prompt_injection_text": _warning(
        "The text addresses the model that reads the rows.",
        "Check that the row belongs there; a model may learn to obey it.",
    ),
    "trigger_phrase": _warning(
        "Rare words of the prompt always bring the same answer, or a link that no other row has.",
        "Check where the rows come from, and remove them unless you wrote them.",
    ),
    "special_token_in_text": _warning(
        "The text holds a token of a chat template.",
        "Remove it: the template writes the tokens itself.",
    ),
    "invisible_character": _warning(
        "The text holds a character that cannot be seen (zero width, override, tag, mark).",
        "Remove it, unless its language needs it.",
    ),
}
"""Every code, in the order in which a file is read."""


PAGE_HEAD = """# What reports find in datasets

Made by `make docs` from `services/planner/dataset/findings.py`; do not edit.

A finding has a line (physical, counted by line feeds, from 1; the row's number in JSON arrays and
Parquet; 0 for the whole file), a code, a field (a path such as `messages[2].role`), a message with
the value, and the remedy. A dataset with an error is INVALID: no plan that names it is approved. A
warning leaves it READY. `attune dataset show NAME --findings` prints them.

A line that cannot be read has one finding and takes no part in anything else. Rows with an error
take no part in the comparisons of rows. Reports keep the first 1,000 findings and count all.

| code | severity | meaning | remedy |
|---|---|---|---|
"""


def page() -> str:
    """Return docs/findings.md."""
    rows = [
        f"| `{name}` | {'error' if code.severity == ERROR else 'warning'} | {code.meaning} "
        f"| {code.remedy} |"
        for name, code in CODES.items()
    ]
    return PAGE_HEAD + "\n".join(rows) + "\n"
