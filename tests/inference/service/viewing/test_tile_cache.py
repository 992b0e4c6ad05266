"""The cache of tiles: what was used last is there, and memory stays bounded."""

from pathoprog.inference.service.viewing.tile_cache import OVERHEAD, TileCache


def test_ten_thousand_tiles_take_no_more_than_they_may():
    cache = TileCache(1 << 20)
    for number in range(10_000):
        cache.put(number, bytes(1000 + number % 7))
        assert cache.n_bytes <= 1 << 20
    assert cache.get(9_999) is not None and cache.get(0) is None
    assert len(cache) == (1 << 20) // (1003 + OVERHEAD) and cache.n_bytes > 0.99 * (1 << 20)


def test_what_is_looked_at_stays_and_what_is_too_large_is_not_taken():
    cache = TileCache(3 * (10 + OVERHEAD))
    for name in "abc":
        cache.put(name, bytes(10))
    assert cache.get("a") == bytes(10)
    cache.put("d", bytes(10))
    assert cache.get("b") is None and cache.get("a") is not None
    cache.put("large", bytes(10_000))
    assert cache.get("large") is None and len(cache) == 3
    cache.put("a", bytes(5))
    assert cache.get("a") == bytes(5) and cache.n_bytes == 2 * 10 + 5 + 3 * OVERHEAD
    cache.clear()
    assert (len(cache), cache.n_bytes) == (0, 0)
