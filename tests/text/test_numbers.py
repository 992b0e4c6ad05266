"""Numbers as journals print them: minus signs, ranges with a word where an end is below zero, no empty precision."""

import pytest

from pathoprog.text.numbers import (
    ascii_numbers,
    bare_ratio,
    decimal,
    format_difference,
    format_interval,
    format_percent,
    format_range,
    format_ratio,
    format_variance,
)

NAN = float("nan")


def test_what_is_below_zero_has_a_minus_sign_and_a_word_between_its_limits() -> None:
    assert format_interval(-1.6, -13.0, 9.7, 1) == "−1.6 (−13.0 to 9.7)"
    assert format_interval(0.667, 0.634, 0.7) == "0.667 (0.634–0.700)"
    assert format_difference(0.15, 0.084, 0.216) == "0.15 (0.08 to 0.22)"
    assert format_difference(-0.53, -0.74, -0.32) == "−0.53 (−0.74 to −0.32)"
    assert format_percent(-0.016, -0.13, 0.097) == "−1.6% (−13.0 to 9.7)"
    assert format_range(-0.63, 4.16) == "−0.63 to 4.16" and format_range(0.1, 4.16) == "0.10–4.16"


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert decimal(-0.001, 2) == "0.00" and decimal(-0.006, 2) == "−0.01" and decimal(-1234.5, 1) == "−1,234.5"
    assert format_interval(0.1, -0.0001, 0.2, 2) == "0.10 (0.00–0.20)"


def test_an_interval_without_width_is_none() -> None:
    assert format_percent(0.0, 0.0, 0.0) == "0.0%" and format_percent(1.0, 1.0, 1.0) == "100.0%"
    assert format_difference(0.0, 0.0, 0.0) == "0.00" == format_difference(0.0, NAN, NAN)
    assert format_difference(NAN, 0.0, 1.0) == format_interval(NAN, 0.0, 1.0) == "not estimable"


def test_limits_that_say_nothing_have_no_digits() -> None:
    assert bare_ratio(7.06, 0.0124, 4030.01) == "7.06 (0.012 to >1,000)"
    assert format_ratio(3.84, 2.72, 5.43) == "3.84 (95% CI 2.72–5.43)"
    assert [format_variance(value) for value in (0.0, 3.8e-7, 0.2349)] == ["0", "<0.001", "0.235"]


@pytest.mark.parametrize(
    ("printed", "file"),
    [("−1.6 (−13.0 to 9.7)", "-1.6 (-13.0 to 9.7)"), ("5.9 (5.1–6.2)", "5.9 (5.1-6.2)"), ("–", "-"), ("A–B", "A–B")],
)
def test_files_for_programs_have_plain_signs(printed: str, file: str) -> None:
    assert ascii_numbers(printed) == file
