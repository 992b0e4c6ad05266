"""Lock-out: who shows wrong tokens waits longer each time, by address and by token, in bounded memory."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pathoprog.inference.service.access.access_config import AccessSettings

FIRST_WAIT_S = 1.0
MOST_KEPT = 10_000
"""Of addresses and tokens; who failed longest ago is forgotten first, so that many addresses cannot fill the memory."""
MOST_KEY_CHARACTERS = 64
IPV6_NETWORK_BITS = 64
"""One customer has a network of this size at least, so that single IPv6 addresses would not count for anything."""


def address_key(address: str) -> str:
    """What an address is counted as: an IPv4 address as it is, an IPv6 address by its network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:MOST_KEY_CHARACTERS]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), IPV6_NETWORK_BITS), strict=False))


@dataclass
class _Failures:
    count: int
    until: float


class Lockout:
    """Failures in a row, by key; each one makes the next try wait: 1 s, 2 s, 4 s …, then the whole lock-out.

    What is tried during a wait is not looked at and does not count. A key is forgotten when it has kept quiet for a
    whole lock-out after its last wait, or by a success.

    Args:
        settings: failures until the lock-out, and how long that is.
        clock: seconds that never run backwards.
    """

    def __init__(self, settings: AccessSettings, clock: Callable[[], float] = time.monotonic):
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Failures] = OrderedDict()  # who failed longest ago first

    def __len__(self) -> int:
        return len(self._kept)

    def wait_s(self, key: str) -> float:
        """Seconds until `key` may try again; 0 if it may now."""
        with self._lock:
            kept = self._kept.get(key)
            return max(kept.until - self._clock(), 0.0) if kept else 0.0

    def failed(self, keys: Iterable[str]) -> None:
        """Count one failure for each key."""
        now = self._clock()
        with self._lock:
            for key in keys:
                kept = self._kept.pop(key, None)
                quiet = kept is None or now - kept.until >= self._settings.lockout_seconds
                count = 1 if kept is None or quiet else kept.count + 1
                self._kept[key] = _Failures(count, now + self._wait(count))
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget what `key` did wrong before."""
        with self._lock:
            self._kept.pop(key, None)

    def _wait(self, count: int) -> float:
        whole = self._settings.lockout_seconds
        if count >= self._settings.lockout_failures:
            return whole
        return min(FIRST_WAIT_S * 2.0 ** min(count - 1, 30), whole)
