"""Table 1: counts, medians, what is missing."""

import pandas as pd

from pathoprog.report.table_one import missing_values, table_one

ONE = pd.DataFrame({"age": [50.0, 60.0, 70.0, None], "sex": ["f", "f", "m", ""], "id": list("abcd")})
TWO = pd.DataFrame({"age": [80.0], "sex": ["m"], "id": ["e"]})


def test_numbers_levels_and_missing():
    table = table_one([("one", ONE), ("two", TWO)], ["age", "sex"]).set_index("")
    assert table.loc["Patients"].tolist() == ["4", "1"]
    assert table.loc["sex"].tolist() == ["of 3", "of 1"]
    assert table.loc["age, median (IQR)", "one"] == "60 (55–65)"
    assert table.loc["  f"].tolist() == ["2 (67%)", "0 (0%)"]
    assert table.loc["  m"].tolist() == ["1 (33%)", "1 (100%)"]
    assert table.loc["  missing"].to_numpy().tolist() == [["1 (25%)", "0 (0%)"]] * 2


def test_columns_of_many_texts_are_not_listed():
    many = pd.DataFrame({"id": [f"P{i}" for i in range(13)]})
    table = table_one([("all", many)], ["id"])
    assert table.iloc[1].tolist() == ["id, different values", "13"]


def test_missing_values_only_where_something_is_missing():
    table = missing_values([("one", ONE), ("two", TWO)], ["age", "sex", "id"])
    assert table["Missing"].tolist() == ["age", "sex"]
    assert table["one"].tolist() == ["1 (25%)", "1 (25%)"]
