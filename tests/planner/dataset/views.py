"""Rows as the statistical passes read them, made by hand."""

from services.planner.dataset.rows import RowView


def view(line: int, prompt: str, answer: str = "An answer.", **changes: str) -> RowView:
    """Return a chat row of one question and one answer."""
    system = changes.get("system", "")
    first = [("messages[0].content", system)] if system else []
    asked = f"messages[{len(first)}].content"
    answered = f"messages[{len(first) + 1}].content"
    return RowView(
        line=line,
        shape=changes.get("shape", "chat"),
        prompt=prompt,
        answer=answer,
        system=system,
        rejected=changes.get("rejected", ""),
        texts=(*first, (asked, prompt), (answered, answer)),
        prompt_field=asked,
        answer_field=answered,
    )


def views(*prompts_and_answers: tuple[str, str]) -> list[RowView]:
    """Return rows from line 1 on."""
    return [view(line, *pair) for line, pair in enumerate(prompts_and_answers, 1)]


def found_in(findings: list) -> list[tuple[int, str]]:
    """Return lines and codes."""
    return [(finding.line, finding.code) for finding in findings]
