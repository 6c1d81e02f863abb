"""The page about an evaluation, read and written to a file."""

import json


def test_a_job_s_report_is_read_as_markdown_or_as_figures(attune, services):
    result = attune("job", "report", "j1")
    assert result.code == 0
    assert "**better.** By far." in result.out
    assert services.asked[-1].name.endswith("runs/j1-s0")
    assert json.loads(attune("job", "report", "j1", "--json").out)["tuned_score"] == 0.82


def test_a_job_s_report_becomes_a_file_to_send_on(attune, services, tmp_path):
    path = tmp_path / "report.html"
    result = attune("job", "report", "j1", "--html", path)
    assert (result.code, path.read_text()) == (0, "<p>Tickets</p>")
    assert f"Wrote {path}" in result.out
    assert "**better.**" not in result.out
    missing = tmp_path / "nowhere" / "report.html"
    result = attune("job", "report", "j1", "--html", missing)
    assert result.code == 1
    assert f"{missing} cannot be written: No such file or directory" in result.err
