"""Rate limits: a bucket of requests for each principal or address that fills again with time, in bounded memory."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pathoprog.inference.service.access.access_config import AccessSettings

MOST_KEPT = 10_000
"""Of buckets; the one unused for longest is forgotten first, which fills it."""

ROUNDING = 1e-6
"""Of a request: who waited as long as was said is let in."""


@dataclass
class _Bucket:
    left: float
    at: float


class RateLimits:
    """Buckets by key: each holds `requests_at_once` requests and gains `requests_per_minute`.

    Args:
        settings: both numbers.
        clock: seconds that never run backwards.
    """

    def __init__(self, settings: AccessSettings, clock: Callable[[], float] = time.monotonic):
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, key: str) -> float:
        """Take one request from the bucket of `key`.

        Returns:
            0 if there was one; else the seconds until there is, and nothing was taken.
        """
        most, per_second = float(self._settings.requests_at_once), self._settings.requests_per_minute / 60
        now = self._clock()
        with self._lock:
            bucket = self._kept.pop(key, None) or _Bucket(most, now)
            bucket.left = min(bucket.left + per_second * (now - bucket.at), most)
            bucket.at = now
            self._kept[key] = bucket
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            if bucket.left < 1 - ROUNDING:
                return (1 - bucket.left) / per_second
            bucket.left = max(bucket.left - 1, 0.0)
            return 0.0
