"""What went wrong is told in lines that a person can act on."""

import pytest

from cli.failures import explained, log_fault
from services.common.errors import NotFound, Unavailable, Violation, invalid


def violations(count: int) -> list[Violation]:
    return [Violation(f"line {i}", "ROLE", f"Role {i} is unknown.") for i in range(count)]


def test_every_violation_is_a_line_with_field_remedy_and_rule():
    assert explained(invalid(violations(2))) == [
        "line 0: Role 0 is unknown. [ROLE]",
        "line 1: Role 1 is unknown. [ROLE]",
    ]


def test_after_twenty_the_rest_is_counted():
    lines = explained(invalid(violations(27)))
    assert len(lines) == 21
    assert lines[-1] == "... and 7 more"


def test_another_refusal_is_its_message():
    assert explained(NotFound("No such job.", reason="X")) == ["No such job."]


def test_a_service_that_is_away_names_its_address_and_the_remedy():
    raw = "failed to connect to all addresses; last error: ipv4:127.0.0.1:7101: refused"
    (line,) = explained(Unavailable(raw, reason="UNAVAILABLE"))
    assert "127.0.0.1:7101" in line
    assert "attune status" in line
    assert "failed to connect" not in line


def test_a_service_that_says_not_now_is_quoted():
    error = Unavailable("The engine is warming.", reason="ENGINE_WARMING")
    assert explained(error) == ["The engine is warming."]


def test_a_fault_of_ours_goes_to_the_log_and_not_to_the_person(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    with pytest.raises(KeyError) as caught:
        {}["secret"]
    line = log_fault(caught.value)
    assert "secret" not in line
    assert str(tmp_path / "logs" / "cli.log") in line
    assert "Traceback" in (tmp_path / "logs" / "cli.log").read_text()


def test_a_fault_is_told_when_even_the_log_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path / "home"))
    assert "KeyError" in log_fault(KeyError("a"))
