"""The store: bounded, least recently used first, shared by threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from napari_segment_anything.engine import EmbeddingStore


def block(size: int) -> np.ndarray:
    return np.zeros(size, np.uint8)


def test_the_least_recently_used_are_dropped():
    store = EmbeddingStore(100)
    for key in "abc":
        store.put(key, block(30))
    assert store.find("a") is not None
    store.put("d", block(30))
    assert list(store) == ["c", "a", "d"] and store.used == 90
    store.put("a", block(10))
    assert list(store) == ["c", "d", "a"] and store.used == 70
    store.put("e", block(500))  # larger than all of it: kept alone
    assert list(store) == ["e"] and store.used == 500
    store.clear()
    assert not len(store) and store.used == 0 and store.find("e") is None


def test_what_is_there_is_not_made_again():
    store, made = EmbeddingStore(100), []

    def make():
        made.append(1)
        return block(10)

    assert store.get("a", make) is store.get("a", make) and len(made) == 1 and "a" in store


def test_threads_may_share_it():
    store = EmbeddingStore(1000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.get(i % 30, lambda: block(50)), range(3000)))
    assert store.used == 50 * len(store) <= 1000
