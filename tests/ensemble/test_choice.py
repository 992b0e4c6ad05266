"""The five members of a resolution: the highest c on tuning, ties by seed, and nothing of the other resolution."""

import itertools
from dataclasses import dataclass

import pytest

from pathoprog.ensemble.choice import choose_members
from pathoprog.errors import InputError


@dataclass(frozen=True)
class Run:
    """What a choice asks of a candidate."""

    resolution: str
    seed: int
    tuning_c: float


RUNS = [
    Run("10x", seed, c) for seed, c in [(1, 0.60), (2, 0.71), (3, 0.66), (4, 0.71), (5, 0.55), (6, 0.66), (7, 0.64)]
] + [Run("40x", seed, 0.9) for seed in range(1, 6)]


def test_the_best_by_c_then_the_smaller_seed_whatever_the_order():
    for shift in range(len(RUNS)):
        choice = choose_members(itertools.chain(RUNS[shift:], RUNS[:shift]), "10x")
        assert [one.seed for one in choice.ranked] == [2, 4, 3, 6, 7, 1, 5]
        assert [one.seed for one in choice.members] == [2, 4, 3, 6, 7]
        assert {one.resolution for one in choice.ranked} == {"10x"}


def test_four_are_too_few():
    with pytest.raises(InputError, match=r"4 candidates at 40x, the ensemble needs 5; train more"):
        choose_members(RUNS[:-1], "40x")


def test_another_number_may_be_asked_for():
    assert [one.seed for one in choose_members(RUNS, "10x", 2).members] == [2, 4]
    said = r"5 candidates at 40x, the ensemble needs 6; train more \(candidates=6 or more\), or .* with members=5"
    with pytest.raises(InputError, match=said):
        choose_members(RUNS, "40x", 6)
