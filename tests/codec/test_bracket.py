"""A search along one knob ends near the target, within its tries, and tries nothing twice."""

import math

import pytest

from coinr.codec.bracket import Bracket, slope
from coinr.runtime.work_limit import WorkLimit
from tests.clocks import Clock


def search(value, target, propose=Bracket.middle, **options):
    """Search where a value passes a target; the bracket when it has ended."""
    bracket = Bracket(propose, **{"tries": 50, "low": 0.0, "high": 16.0, "alike": 1e-3} | options)
    for at in bracket:
        bracket.add(at, value(at), value(at) <= target, None)
    return bracket


def tried(bracket):
    return [point.at for point in bracket.points]


@pytest.mark.parametrize("target", [0.001, 1.0, 7.3, 15.99])
def test_halving_encloses_where_a_rising_value_passes_the_target(target):
    bracket = search(lambda at: at, target)
    low, high = bracket.ends()
    assert low <= target < high
    assert high - low < 1e-3
    assert len(bracket.points) <= math.ceil(math.log2(16 / 1e-3))


def test_a_line_through_the_ends_finds_the_target_of_a_line_at_once():
    def along(bracket):
        return bracket.between(5.0) if len(bracket.points) > 1 else 16.0

    bracket = search(lambda at: 2 * at - 3, 5.0, along, start=0.0, tries=3)
    assert tried(bracket) == [0.0, 16.0, 4.0]
    assert bracket.good.at == 4.0


@pytest.mark.parametrize("value", [4.0, 5.0, math.inf, math.nan])
def test_halfway_is_where_values_do_not_tell(value):
    bracket = Bracket(Bracket.middle, tries=9)
    bracket.add(1.0, 5.0, True, None)
    bracket.add(2.0, value, False, None)
    assert bracket.between(4.5) == 1.5


def test_with_noise_the_ends_are_the_highest_good_and_the_lowest_bad_point():
    bracket = Bracket(Bracket.middle, tries=9, alike=0.1)
    for at, good in [(3.0, False), (1.0, True), (4.0, True), (2.0, False), (0.5, True), (5.0, False)]:
        bracket.add(at, at, good, f"made at {at}")
    assert (bracket.good.at, bracket.good.made) == (4.0, "made at 4.0")
    assert (bracket.bad.at, bracket.bad.made) == (2.0, "made at 2.0")
    assert bracket.ends() == (4.0, 2.0)
    assert bracket.narrow()


@pytest.mark.parametrize(("value", "end"), [(1.0, 16.0), (3.0, 0.0)])
def test_a_flat_value_leads_to_a_bound(value, end):
    bracket = search(lambda at: value, 2.0)
    assert end in (pytest.approx(at, abs=1e-3) for at in bracket.ends())
    assert (bracket.good is None) == (value > 2.0)
    assert (bracket.bad is None) == (value < 2.0)


@pytest.mark.parametrize(("value", "end"), [(1.0, 16.0), (3.0, 0.0)])
def test_a_bound_beyond_which_the_target_lies_ends_the_search(value, end):
    bracket = search(lambda at: value, 2.0, lambda bracket: end, start=9.0, alike=-math.inf)
    assert tried(bracket) == [9.0, end]
    assert bracket.narrow()


def test_what_is_tried_again_counts():
    bracket = search(lambda at: at, 20.0, lambda bracket: 5.0, tries=3)
    assert tried(bracket) == [5.0, 5.0, 5.0]
    assert bracket.ends() == (5.0, 16.0)


def test_the_proposal_ends_the_search_and_sees_all_points():
    seen = []

    def propose(bracket):
        seen.append(tried(bracket))
        return None if len(bracket.points) == 2 else bracket.middle()

    assert tried(search(lambda at: at, 20.0, propose)) == [8.0, 12.0]
    assert seen == [[], [8.0], [8.0, 12.0]]


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_no_more_is_tried_than_allowed(tries):
    assert len(search(lambda at: at, 3.0, tries=tries).points) == tries


def test_points_from_elsewhere_count():
    bracket = Bracket(Bracket.middle, tries=3, low=0.0, high=16.0)
    bracket.add(8.0, 8.0, True, None)
    assert [bracket.add(at, at, True, None) or at for at in bracket] == [12.0, 14.0]


def test_a_share_of_the_bracket_is_kept_out_at_either_end():
    bracket = Bracket(Bracket.middle, tries=9, low=0.0, high=16.0)
    assert [bracket.inside(at, 0.1) for at in (-1.0, 3.0, 17.0)] == [0.0, 3.0, 16.0]
    bracket.add(2.0, 0.0, True, None)
    bracket.add(12.0, 0.0, False, None)
    assert [bracket.inside(at, 0.1) for at in (2.0, 3.0, 11.5)] == [3.0, 3.0, 11.0]


def test_time_that_is_over_ends_the_search_with_what_is_good():
    clock = Clock()
    limit = WorkLimit(3.5, clock=clock, cpu_clock=clock)

    def value(at):
        clock.now += 1.0
        return at

    bracket = Bracket(Bracket.middle, tries=50, low=0.0, high=16.0, limit=limit)
    for at in bracket:
        with limit.unit("file"):
            bracket.add(at, value(at), at <= 20.0, None)
    assert len(bracket.points) == 3
    assert not bracket.out_of_time


def test_time_that_is_over_leaves_one_more_try_where_nothing_is_good():
    clock = Clock()
    limit = WorkLimit(1.5, clock=clock, cpu_clock=clock)
    bracket = Bracket(Bracket.middle, tries=50, low=0.0, high=16.0, limit=limit, caution=-1.5)
    for at in bracket:
        with limit.unit("file"):
            clock.now += 1.0
        bracket.add(at, at, False, None)
    assert tried(bracket) == [8.0, 4.0 - 1.5]
    assert bracket.out_of_time


def test_a_slope_is_kept_within_bounds_and_usual_where_one_point_is_all():
    bracket = Bracket(Bracket.middle, tries=9)
    for at, value in [(0.0, 0.0), (1.0, 3.0), (1.0, 5.0), (2.0, 99.0)]:
        bracket.add(at, value, True, None)
    first, second, third, last = bracket.points
    assert slope(second, first, 2.0, 1.0, 4.0) == 3.0
    assert slope(last, first, 2.0, 1.0, 4.0) == 4.0
    assert slope(second, third, 2.0, 3.0, 4.0) == slope(second, None, 2.0, 3.0, 4.0) == 2.0


def test_a_line_reaches_its_target_or_one_stride():
    bracket = Bracket(Bracket.middle, tries=9)
    bracket.add(1.0, 10.0, True, None)
    assert [bracket.points[0].reach(target, 2.0, 4.0) for target in (14.0, 99.0, -math.inf)] == [3.0, 5.0, -3.0]
