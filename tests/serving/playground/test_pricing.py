from services.serving.playground.pricing import Meter


def test_an_answer_costs_its_share_of_the_engines_hour():
    moments = iter([100.0, 136.0, 172.0])
    meter = Meter(1_000_000, lambda: next(moments))
    meter.note(1.0)
    meter.note(0.5)
    assert meter.cost_micro_usd == 15_000


def test_without_a_price_nothing_is_said_of_cost():
    meter = Meter(0, lambda: 0.0)
    meter.note(1.0)
    assert meter.cost_micro_usd is None
