"""When the demo counts as passed, and what it writes."""

import pytest
from attune.spec.v1 import evaluation_pb2

from cli.demo.report import failed_conditions, snippet
from tests.cli.canned import a_report

CHAT = [
    {"role": "system", "content": "Route."},
    {"role": "user", "content": 'A "quoted" prompt'},
]
CANNOT_TELL = evaluation_pb2.EvaluationReport.VERDICT_CANNOT_TELL


def test_a_good_report_passes():
    assert failed_conditions(a_report()) == []
    assert failed_conditions(a_report(tuned_score=0.60)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": CANNOT_TELL}, "cannot tell, not better"),
        ({"few_shot_score": 0.82}, "does not beat the few-shot prompt (0.820)"),
        ({"majority_score": 0.9}, "does not beat the most frequent answer (0.900)"),
        ({"tuned_score": 0.599}, "below 0.60"),
    ],
)
def test_each_condition_alone_fails_the_demo(changes, words):
    (text,) = failed_conditions(a_report(**changes))
    assert words in text


def test_the_snippet_is_python_that_calls_the_alias():
    lines = snippet("http://127.0.0.1:7180/v1", "tickets", CHAT)
    compile("\n".join(lines), "snippet", "exec")
    assert any('model="tickets"' in line for line in lines)
    assert sum('"role"' in line for line in lines) == 2
