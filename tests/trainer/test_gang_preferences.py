"""Pairs learnt by two real processes, against one process."""

import pytest

from services.trainer.run import Phase
from tests.trainer import tiny
from tests.trainer.test_gang import TOLERANCE, Runs, curve

pytestmark = pytest.mark.system

NUMBERS = ("loss", "rewards/margins", "rewards/chosen", "rewards/accuracies", "logps/rejected")


class PairRuns(Runs):
    """The same on pairs."""

    def spec(self, **changes: object):
        # 65 pairs are learnt and 7 validate: neither a micro-batch nor a step divides them.
        train = tiny.put_rows(self.artefacts, tiny.pairs(72))
        holdout = tiny.put_rows(self.artefacts, tiny.pairs(4))
        return tiny.a_preference_spec(self.revision, train, holdout, **changes)


@pytest.fixture
def runs(tmp_path, forks, revision) -> PairRuns:
    return PairRuns(tmp_path, forks, revision)


async def test_two_processes_have_the_losses_and_margins_of_one(runs):
    spec = runs.spec(effective_batch_size=12)
    alone = await runs.finish(spec, 1, job="j1", rows=12)
    both = await runs.finish(spec, 2, job="j2", rows=12)
    for name in NUMBERS:
        for kind in (name, f"eval_{name}"):
            expected = curve(alone, kind)
            assert expected, kind
            assert curve(both, kind) == pytest.approx(expected, abs=TOLERANCE), kind
    margins = curve(both, "rewards/margins")
    assert len(margins) == 12
    assert margins[12] > margins[2] + 0.01
    assert [timing.phase for timing in both.phases()] == list(Phase)
