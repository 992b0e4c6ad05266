"""Columns of pyarrow straight from memory: `pa.array` looks for pandas first, whose import a worker would wait for."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(values: NDArray[Any], dtype: type[np.generic] | None = None) -> Any:
    """A column of numbers [n] without gaps, in `dtype` or the array's own; NaN stays NaN."""
    own = np.ascontiguousarray(values, dtype)
    return pa.Array.from_buffers(pa.from_numpy_dtype(own.dtype), len(own), [None, pa.py_buffer(own)])


def repeated(text: str, n: int) -> Any:
    """A column of `n` times the same text."""
    data = text.encode("utf-8")
    ends = np.arange(n + 1, dtype=np.int32) * len(data)
    return pa.StringArray.from_buffers(n, pa.py_buffer(ends), pa.py_buffer(data * n))
