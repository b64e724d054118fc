"""The cache on disk: what was compiled before, for this process and others.

FOLDER/KIND/KEY is one entry; a kind is a level of the cache ("programs", "kernels", ...), a key the SHA-256 of all that
the entry depends on, so entries are never changed, only made and removed. They are written beside their place and
renamed into it, so that readers see a whole one or none; the time of a file's last change is the time of its last use.

The cache is never a reason to fail. Where it cannot be used, it turns itself off and says so under GRAPHC_LOG=cache.

Environment:
    GRAPHC_CACHE=0       no cache
    GRAPHC_CACHE_DIR     the folder; otherwise $XDG_CACHE_HOME/graphc or ~/.cache/graphc
    GRAPHC_CACHE_LIMIT   its size, in bytes or as "512MiB", "2GiB"; beyond it, what was not used for longest is removed
"""

from __future__ import annotations

import os
import re
import stat
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from graphc.ir.errors import GraphcError
from graphc.runtime.cache_entry import DamagedEntryError, Header, decode_entry, encode_entry, read_header
from graphc.runtime.messages import log

DEFAULT_LIMIT = 1 << 30
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_ABANDONED_SECONDS = 3600.0  # after which nobody is still writing a file beside its place
_KEEP = 0.9  # of the limit, when entries are removed


class CacheWarning(UserWarning):
    """An entry of the cache was damaged. It is compiled again."""


@dataclass(frozen=True)
class StoredEntry:
    """A file of the cache. `used`: when it was read or written last, in seconds since 1970. `header` is None where it
    cannot be read."""

    kind: str
    key: str
    size: int
    used: float
    header: Header | None


class Store:
    """A folder of entries, used by any number of processes at once. No method raises for what is wrong on disk."""

    def __init__(self, folder: str, limit: int = DEFAULT_LIMIT):
        self.folder = folder
        self.limit = limit
        self._usable: bool | None = None  # not known before the folder exists
        self._writable = True
        self._room = 0  # bytes that may be written before it is looked again how full the folder is

    def problem(self) -> str | None:
        """Why the folder must not be used; None where it may be. Raises FileNotFoundError where there is none."""
        try:
            return _problem(os.stat(self.folder))
        except FileNotFoundError:
            raise
        except OSError as error:
            return f"cannot be looked at: {error}"

    # --- entries

    def get(self, kind: str, key: str) -> bytes | None:
        """The payload of an entry; None where there is none. A damaged one is removed, with a CacheWarning."""
        if not self._is_usable():
            return None
        path = self._path(kind, key)
        try:
            with open(path, "rb") as file:
                data = file.read()
            payload = decode_entry(data, kind, key)
        except FileNotFoundError:
            return None
        except (DamagedEntryError, IsADirectoryError) as error:
            self.discard(kind, key, "it is a folder" if isinstance(error, OSError) else str(error))
            return None
        except OSError as error:
            log("cache", f"{path} cannot be read: {error}")
            return None
        with suppress(OSError):  # a folder that only root may write to, or an entry that was just removed
            os.utime(path)
        return payload

    def put(self, kind: str, key: str, payload: bytes, name: str, parts: Mapping[str, Any]) -> None:
        """Write an entry. `name` and `parts` are for readers: see `Header`."""
        if not self._writable:
            return
        data = encode_entry(kind, key, name, parts, payload)
        if len(data) > self.limit:
            log("cache", f"{kind}/{key[:12]} of {name} takes {len(data)} bytes, more than the whole cache may")
            return
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)
            if not self._is_usable():
                return
            self._write(kind, key, data)
            self._room -= len(data)
            if self._room < 0:
                self._make_room()
        except OSError as error:
            self._writable = False
            log("cache", f"nothing more is written to {self.folder}: {error}")

    def discard(self, kind: str, key: str, why: str) -> None:
        """Remove an entry that cannot be used, with a CacheWarning."""
        path = self._path(kind, key)
        try:
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
        except OSError as error:
            log("cache", f"{path} cannot be removed: {error}")
        # At last, for who turns warnings into errors should meet this one only once.
        warnings.warn(f"{path} is damaged ({why}); it is removed and compiled again", CacheWarning, stacklevel=2)

    def entries(self, kind: str | None = None, headers: bool = True) -> list[StoredEntry]:
        """All entries (of a kind), the one used last first."""
        if not self._is_usable():
            return []
        return sorted(self._entries(kind, headers), key=lambda entry: -entry.used)

    def clear(self) -> tuple[int, int]:
        """Remove all entries; their number and bytes."""
        return self._remove(self.entries(headers=False))

    def why_missed(self, kind: str, name: str, parts: Mapping[str, Any]) -> str:
        """In which parts the nearest entry of this name differs from one that was not there."""
        known = [e.header.parts for e in self.entries(kind) if e.header is not None and e.header.name == name]
        if not known:
            return "none of this name is cached"
        nearest = max(known, key=lambda found: sum(found.get(part) == value for part, value in parts.items()))
        differences = [_difference(part, nearest.get(part), value) for part, value in parts.items()]
        return f"cached for {'; '.join(filter(None, differences)) or 'the same, by another process just now'}"

    # --- files

    def _path(self, kind: str, key: str) -> str:
        return os.path.join(self.folder, kind, key)

    def _is_usable(self) -> bool:
        """Whether the folder exists, and nobody else can put code into it."""
        if self._usable is None:
            try:
                problem = self.problem()
            except FileNotFoundError:  # the first entry makes it
                return False
            self._usable = problem is None
            if problem is not None:
                log("cache", f"off: {self.folder} {problem}")
        return self._usable

    def _write(self, kind: str, key: str, data: bytes) -> None:
        path = self._path(kind, key)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        temporary = f"{os.path.dirname(path)}/.{key}.{os.getpid()}.{os.urandom(4).hex()}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            _unlink(temporary)
            raise

    def _files(self, kind: str | None) -> Iterator[tuple[str, os.DirEntry[str], os.stat_result]]:
        """Every file: its kind, and what the system says of it."""
        for folder in _scan(self.folder):
            if folder.is_dir(follow_symlinks=False) and kind in (None, folder.name):
                for file in _scan(folder.path):
                    try:
                        found = file.stat(follow_symlinks=False)
                    except OSError:  # removed meanwhile
                        continue
                    if stat.S_ISREG(found.st_mode):
                        yield folder.name, file, found

    def _entries(self, kind: str | None, headers: bool) -> Iterator[StoredEntry]:
        for folder, file, found in self._files(kind):
            if not file.name.startswith("."):
                header = _header_of(file.path) if headers else None
                yield StoredEntry(folder, file.name, found.st_size, found.st_mtime, header)

    def _make_room(self) -> None:
        """See how full the folder is; remove what was not used for longest where it is too full."""
        abandoned = time.time() - _ABANDONED_SECONDS
        for _, file, found in self._files(None):
            if file.name.startswith(".") and found.st_mtime < abandoned:
                _unlink(file.path)
        entries = self.entries(headers=False)
        total = sum(entry.size for entry in entries)
        oldest: list[StoredEntry] = []
        while total > self.limit or (oldest and total > self.limit * _KEEP):
            oldest.append(entries.pop())
            total -= oldest[-1].size
        if oldest:
            count, size = self._remove(oldest)
            log("cache", f"{self.folder} was full: removed the {count} entries not used for longest, {size} bytes")
        # Others write as well, so this is looked at again long before this process alone could fill the folder.
        self._room = min(self.limit - total, self.limit // 16)

    def _remove(self, entries: Iterable[StoredEntry]) -> tuple[int, int]:
        count = size = 0
        for entry in entries:
            _unlink(self._path(entry.kind, entry.key))
            count, size = count + 1, size + entry.size
        return count, size


def default_store() -> Store | None:
    """The cache that the environment names; None where that says, or means, that there is none. Raises GraphcError for
    a GRAPHC_CACHE_LIMIT that is no size."""
    if os.environ.get("GRAPHC_CACHE") == "0":
        return None
    folder = os.environ.get("GRAPHC_CACHE_DIR")
    if not folder:
        folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "graphc")
    return _store(folder, os.environ.get("GRAPHC_CACHE_LIMIT", ""))


@cache
def _store(folder: str, limit: str) -> Store | None:
    size = parse_size(limit) if limit else DEFAULT_LIMIT
    if folder.startswith("~"):
        log("cache", "off: there is no home folder; GRAPHC_CACHE_DIR names another one")
        return None
    return Store(os.path.abspath(folder), size)


def parse_size(text: str) -> int:
    """Bytes in a size such as "1000000", "512MiB", "2GiB". Raises GraphcError for other text."""
    found = re.fullmatch(r"(\d{1,15})\s*(|KiB|MiB|GiB)", text.strip())
    if found is None:
        raise GraphcError(f"GRAPHC_CACHE_LIMIT={text!r} is no size; write bytes, or a number of KiB, MiB or GiB")
    return int(found[1]) * _UNITS[found[2]]


def _problem(folder: os.stat_result) -> str | None:
    """Why code must not be loaded from a folder; None where it may."""
    if not stat.S_ISDIR(folder.st_mode):
        return "is no folder"
    if folder.st_uid not in (os.geteuid(), 0):
        return "belongs to another user, who could put code into it"
    if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by other users, who could put code into it; chmod go-w would do"
    return None


def _difference(part: str, cached: Any, wanted: Any) -> str:
    if cached == wanted:
        return ""
    if not (isinstance(cached, dict) and isinstance(wanted, dict)):
        return f"another {part}"
    names = [name for name in {**wanted, **cached} if cached.get(name) != wanted.get(name)]
    return ", ".join(f"{part} {name}: {cached.get(name)} instead of {wanted.get(name)}" for name in names)


def _header_of(path: str) -> Header | None:
    try:
        with open(path, "rb") as file:
            return read_header(file)
    except (OSError, DamagedEntryError):
        return None


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:  # none, or removed meanwhile
        return []


def _unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
