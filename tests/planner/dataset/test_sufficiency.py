import pytest
from attune.planner.v1.dataset_pb2 import DatasetReport, Sufficiency

from services.planner.dataset import sufficiency

UNFIT, SMALL = Sufficiency.LEVEL_UNFIT, Sufficiency.LEVEL_TOO_SMALL
THIN, ENOUGH = Sufficiency.LEVEL_THIN, Sufficiency.LEVEL_ENOUGH


@pytest.mark.parametrize(
    ("row_format", "count", "levels"),
    [
        ("chat", 49, [SMALL, UNFIT, UNFIT, UNFIT]),
        ("prompt_completion", 50, [THIN, UNFIT, UNFIT, UNFIT]),
        ("tool_calls", 200, [ENOUGH, UNFIT, UNFIT, UNFIT]),
        ("preference", 199, [UNFIT, SMALL, UNFIT, UNFIT]),
        ("preference", 200, [UNFIT, THIN, UNFIT, UNFIT]),
        ("prompts_with_reference", 100, [UNFIT, UNFIT, THIN, SMALL]),
        ("prompts_only", 200, [UNFIT, UNFIT, UNFIT, ENOUGH]),
        ("mixed", 9999, [UNFIT] * 4),
    ],
)
def test_each_technique_is_judged_by_shape_and_number(row_format, count, levels):
    report = DatasetReport(format=row_format, valid_row_count=count)
    verdicts = sufficiency.judge(report)
    assert [verdict.technique for verdict in verdicts] == ["SFT", "DPO", "RLVR", "RLAIF"]
    assert [verdict.level for verdict in verdicts] == levels
    assert all(verdict.rule.endswith(".") and verdict.source for verdict in verdicts)


def test_repeats_do_not_count():
    report = DatasetReport(
        format="chat", valid_row_count=60, duplicate_row_count=8, near_duplicate_row_count=3
    )
    verdict = sufficiency.judge(report)[0]
    assert verdict.level == SMALL
    assert verdict.rule.startswith("49 usable rows; SFT needs at least 50 demonstrations")
