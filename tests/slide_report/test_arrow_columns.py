"""Columns for pyarrow that need no pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from pathoprog.slide_report.arrow_columns import numbers, repeated


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
def test_numbers_are_those_of_pyarrow_itself(dtype):
    values = np.array([[3, 1], [4, 1], [5, 9]])[:, 0]  # not contiguous
    column = numbers(values, dtype)
    assert column.equals(pa.array(values.astype(dtype)))
    column.validate(full=True)
    assert numbers(np.array([np.nan, 1.0])).null_count == 0


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_repeated_text_is_that_of_pyarrow_itself(n):
    column = repeated("10x µ", n)
    assert column.equals(pa.array(["10x µ"] * n, pa.string()))
    column.validate(full=True)


ALONE = """
import sys, numpy, pyarrow as pa
from pathoprog.slide_report.arrow_columns import numbers, repeated
import pathoprog.inference.engine.worker
pa.concat_tables([pa.table({"a": numbers(numpy.zeros(3)), "b": repeated("x", 3)})], promote_options="default")
sys.exit("pandas" in sys.modules)
"""


def test_a_worker_does_not_load_pandas_for_its_tiles():
    assert subprocess.run([sys.executable, "-c", ALONE], check=False).returncode == 0
