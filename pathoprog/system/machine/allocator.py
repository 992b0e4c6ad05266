"""glibc told to keep the memory that networks free, in the processes that run them. No torch.

Large temporary arrays are otherwise mapped from the system and given back at every step: the system then fills each
page with zeros again, which can take more time than a network (docs/speed.md).
"""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES = 1 << 30
"""Free memory at the heap's end that is not given back."""
LARGEST_BYTES = 1 << 30
"""Larger blocks are mapped on their own, and given back as soon as they are free."""


def keep_freed_memory() -> bool:
    """Raise glibc's thresholds for this process; False, and nothing changes, with another C library."""
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
