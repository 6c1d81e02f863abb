"""When a process that died is started again."""

from cli.launcher.restart import Restarts


def after(*lives_s: float) -> Restarts:
    restarts = Restarts()
    for lived_s in lives_s:
        restarts = restarts.after_death(lived_s)
    return restarts


def test_the_delay_doubles_with_quick_deaths_up_to_ten_seconds():
    assert [after(*[0.1] * count).delay_s for count in range(1, 7)] == [0.5, 1, 2, 4, 8, 10]


def test_five_quick_deaths_in_a_row_are_given_up():
    assert not after(0, 1, 2, 4).given_up
    assert after(0, 1, 2, 4, 4.9).given_up


def test_a_longer_life_starts_the_count_anew():
    restarts = after(0, 1, 2, 4, 60)
    assert (restarts.given_up, restarts.delay_s, restarts.count) == (False, 0.5, 5)
    assert not after(0, 1, 2, 4, 60, 1).given_up
