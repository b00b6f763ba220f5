"""Cache of facts about large files, such as their hashes.

Hashing gigabytes takes seconds. Results are stored by path, inode, size and time of last change of
the file, in memory and in a small JSON file in the cache directory. Without that file, hashes are
just computed again.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

_LIMIT = 500
_lock = threading.Lock()
_memory: dict[str, str] = {}


def recall(path: Path, fact: str, store: Path) -> str | None:
    """Return a fact recorded about a file in its present state, or None.

    Parameters
    ----------
    path : Path
        The file.
    fact : str
        Name of the fact, such as ``"sha256"``.
    store : Path
        The JSON file with the records.
    """
    key = _key(path, fact)
    if key is None:
        return None
    with _lock:
        if key not in _memory:
            _memory.update(_read(store))
        return _memory.get(key)


def record(path: Path, fact: str, value: str, store: Path) -> None:
    """Record a fact about a file in its present state.

    Parameters
    ----------
    path, fact, store
        As for `recall`.
    value : str
        The fact.
    """
    key = _key(path, fact)
    if key is None:
        return
    with _lock:
        _memory[key] = value
        known = _read(store)
        known.pop(key, None)
        known[key] = value
        recent = dict(list(known.items())[-_LIMIT:])
        partial = store.with_name(f"{store.name}.{os.getpid()}.part")
        with contextlib.suppress(OSError):
            store.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(recent, indent=0), encoding="utf-8")
            partial.replace(store)


def _key(path: Path, fact: str) -> str | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return f"{fact}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}|{path.resolve()}"


def _read(store: Path) -> dict[str, str]:
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {k: v for k, v in known.items() if isinstance(k, str) and isinstance(v, str)}
