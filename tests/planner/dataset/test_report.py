"""Statistics of rows, by hand, and violations that fit into a status."""

import json
from array import array

from services.common.errors import Violation
from services.planner.dataset.report import Tally, TokenCount, by_rule, cut_answers
from services.planner.dataset.rows import check_line
from tests.planner.peer_servers import a_row


def rows(*answers):
    lines = [json.dumps(a_row(f"Question {i}?", each)) for i, each in enumerate(answers)]
    return [check_line(line.encode(), number) for number, line in enumerate(lines, 1)]


def test_every_figure_of_a_report_is_counted():
    tally = Tally()
    checked = rows('{"a":1}', '{"a":1}', "plain", '{"a":2}')
    tally.add(checked[:3], [TokenCount(10, 3), TokenCount(30, 4), TokenCount(20, 9)])
    tally.add([checked[3], checked[0]], [TokenCount(40, 2), TokenCount(10, 3)])
    report = tally.report("attune/starter", array("Q", [checked[1].digest, 5]))
    assert report.row_count == 5
    assert report.total_token_count == 110
    assert report.median_token_count == 20
    assert report.max_token_count == 40
    assert report.max_answer_token_count == 9
    assert report.json_answer_share == 0.8
    assert report.distinct_answer_count == 3
    assert report.majority_answer_share == 0.6
    assert report.duplicate_row_count == 1
    assert report.holdout_overlap_count == 1


def test_a_row_longer_than_the_context_is_named_by_its_line():
    (violation,) = cut_answers(rows("a", "b"), [TokenCount(8, 1), TokenCount(9, 1)], 8)
    assert (violation.field, violation.rule) == ("line 2", "ANSWER_CUT")


def test_lines_that_break_one_rule_are_told_together():
    broken = [Violation(f"line {n}: messages", "NO_ASSISTANT", "Add one.") for n in (9, 3, 4)]
    broken.append(Violation("line 2", "NOT_JSON", "Write JSON."))
    told = by_rule(broken)
    assert [each.field for each in told] == ["line 2", "lines 9, 3, 4"]


def test_at_most_a_hundred_lines_are_named():
    broken = [Violation(f"line {number}", "NOT_JSON", "Write.") for number in range(1, 300)]
    (told,) = by_rule(broken)
    assert told.field.count(",") == 99
