"""The cache's folder of entries: damage, limits, permissions, races."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
import warnings
from pathlib import Path

import pytest

from graphc.ir.errors import GraphcError
from graphc.runtime.cache import DEFAULT_LIMIT, CacheWarning, Store, default_store, parse_size
from graphc.runtime.cache_entry import encode_entry, key_of

KEY = key_of({"graph": "a"})
PAYLOAD = bytes(range(256)) * 4
PARTS = {"graph": "1", "target": {"cpu": "x"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


def put(store: Store, key: str = KEY, payload: bytes = PAYLOAD, kind: str = "things") -> Path:
    store.put(kind, key, payload, "step", PARTS)
    return Path(store.folder, kind, key)


def test_what_is_put_is_got(store: Store) -> None:
    assert store.get("things", KEY) is None
    path = put(store)
    assert store.get("things", KEY) == PAYLOAD
    assert store.get("others", KEY) is None
    assert put(store, payload=b"") == path
    assert store.get("things", KEY) == b""
    (entry,) = store.entries()
    assert entry.header is not None
    assert (entry.kind, entry.key, entry.size) == ("things", KEY, path.stat().st_size)
    assert (entry.header.name, entry.header.parts) == ("step", PARTS)
    assert abs(entry.header.created - time.time()) < 60
    assert store.clear() == (1, entry.size)
    assert store.entries() == []


def test_files_are_private(store: Store) -> None:
    path = put(store)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (path.parent, path.parent.parent)} == {0o700}
    assert os.listdir(path.parent) == [KEY]


# --- damage


def test_every_flipped_byte_is_noticed(store: Store) -> None:
    path = put(store)
    whole = path.read_bytes()
    for place in [*range(64), *range(64, len(whole), 41), *range(len(whole) - 40, len(whole))]:
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        with pytest.warns(CacheWarning, match=f"{KEY} is damaged .* removed and compiled again"):
            assert store.get("things", KEY) is None
        assert not path.exists()
        put(store)
        assert store.get("things", KEY) == PAYLOAD


def test_every_truncation_is_noticed(store: Store) -> None:
    path = put(store)
    whole = path.read_bytes()
    for length in [*range(60), *range(60, len(whole), 37), *range(len(whole) - 35, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.warns(CacheWarning, match="it is (not whole|empty|no entry of this cache)"):
            assert store.get("things", KEY) is None
        assert not path.exists()
    path.write_bytes(whole + b"\0")
    with pytest.warns(CacheWarning, match="not whole"):
        assert store.get("things", KEY) is None


def test_an_entry_at_anothers_place(store: Store) -> None:
    path, other = put(store), key_of({"graph": "b"})
    path.rename(path.with_name(other))
    with pytest.warns(CacheWarning, match=f"it belongs to things/{KEY}"):
        assert store.get("things", other) is None


@pytest.mark.parametrize("header", [b"[]", b"{", b'{"kind": 1}', b"\xff", b"[" * 100_000])
def test_headers_that_are_none(store: Store, header: bytes) -> None:
    whole = encode_entry("things", KEY, "step", PARTS, PAYLOAD)
    start = whole.index(b"{")
    path = put(store)
    path.write_bytes(whole[:15] + len(header).to_bytes(8, "little") + whole[23:start] + header)
    (entry,) = store.entries()
    assert entry.header is None


@pytest.mark.filterwarnings("error")
def test_damage_is_met_once_where_warnings_are_errors(store: Store) -> None:
    put(store).write_bytes(b"")
    with pytest.raises(CacheWarning, match="it is empty"):
        store.get("things", KEY)
    assert store.get("things", KEY) is None


@pytest.mark.parametrize("full", [False, True])
def test_a_folder_in_place_of_a_file(store: Store, full: bool, capfd: pytest.CaptureFixture[str]) -> None:
    path = put(store)
    path.unlink()
    path.mkdir()
    if full:
        (path / "file").touch()
    with pytest.warns(CacheWarning, match="it is a folder"):
        assert store.get("things", KEY) is None
    put(store)
    if full:
        with pytest.warns(CacheWarning):
            assert store.get("things", KEY) is None
        assert os.listdir(path.parent) == [KEY]  # nothing was left behind
    else:
        assert store.get("things", KEY) == PAYLOAD


# --- where it cannot be used


def test_folders_that_others_may_write(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHC_LOG", "cache")
    path = put(store)
    os.chmod(store.folder, 0o770)
    again = Store(store.folder)
    assert again.get("things", KEY) is None
    assert again.entries() == []
    put(again)
    assert again.clear() == (0, 0)
    assert path.exists()
    (line,) = capfd.readouterr().err.splitlines()
    assert line == (
        f"graphc [cache] off: {store.folder} can be written by other users, who could put code into it; "
        "chmod go-w would do"
    )


def test_folders_of_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store)
    real = os.stat(store.folder).st_uid
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    again = Store(store.folder)
    assert again.get("things", KEY) == (PAYLOAD if real == 0 else None)  # root may
    if real == 0:
        os.chown(store.folder, 12345, -1)
        assert Store(store.folder).problem() == "belongs to another user, who could put code into it"
        assert Store(store.folder).get("things", KEY) is None


@pytest.mark.parametrize("make", ["file", "below a file", "null"])
def test_paths_that_can_be_no_folder(
    make: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHC_LOG", "cache")
    (tmp_path / "file").touch()
    folder = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "cache", "null": Path("/dev/null/x")}[make]
    store = Store(str(folder))
    for _ in range(2):
        assert store.get("things", KEY) is None
        put(store)
    assert len(capfd.readouterr().err.splitlines()) <= 2
    assert store.entries() == []
    assert store.clear() == (0, 0)


@pytest.mark.parametrize("call", ["makedirs", "open", "replace"])
def test_a_folder_that_cannot_be_written(
    store: Store, call: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Read-only, or full: what is there is read, nothing more is written, and that is said once."""
    put(store)
    again = Store(store.folder)
    monkeypatch.setenv("GRAPHC_LOG", "cache")

    def refuse(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        put(again, key_of({"graph": "b"}))
        put(again, key_of({"graph": "c"}))
    assert again.get("things", KEY) == PAYLOAD
    assert os.listdir(Path(store.folder, "things")) == [KEY]
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"graphc [cache] nothing more is written to {store.folder}: [Errno 28] No space left on device"


def test_the_folder_may_be_deleted_meanwhile(store: Store) -> None:
    path = put(store)
    path.unlink()
    path.parent.rmdir()
    path.parent.parent.rmdir()
    assert store.get("things", KEY) is None
    assert store.entries() == []
    put(store)
    assert store.get("things", KEY) == PAYLOAD


# --- the limit


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    size = len(encode_entry("things", KEY, "step", PARTS, PAYLOAD))
    store = Store(str(tmp_path / "cache"), limit=10 * size + 200)
    keys = [key_of({"graph": str(i)}) for i in range(11)]
    for age, key in enumerate(keys[:10]):
        path = put(store, key)
        os.utime(path, (0, 1_000_000 + age))
    assert store.get("things", keys[0]) == PAYLOAD  # used just now
    put(store, keys[10])
    left = {entry.key for entry in store.entries()}
    assert left == {keys[0], *keys[3:]}


def test_the_limit_holds_for_many_entries(tmp_path: Path) -> None:
    limit = 40_000
    store = Store(str(tmp_path / "cache"), limit)
    for i in range(200):
        put(store, key_of({"graph": str(i)}), bytes(i * 20))
        assert sum(entry.size for entry in store.entries()) <= limit * 1.1


def test_an_entry_larger_than_the_limit(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"), limit=2000)
    put(store, payload=b"small")
    put(store, key_of({"graph": "b"}), bytes(5000))
    assert [entry.key for entry in store.entries()] == [KEY]


def test_abandoned_files_are_removed(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"))
    path = put(store)
    old, new = path.with_name(".old"), path.with_name(".new")
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (0, time.time() - 7200))
    put(Store(store.folder), key_of({"graph": "b"}))
    assert not old.exists()
    assert new.exists()
    assert len(store.entries()) == 2


# --- the environment


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def folder() -> str:
        store = default_store()
        assert store is not None
        return store.folder

    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "a"))
    assert folder() == str(tmp_path / "a")
    monkeypatch.delenv("GRAPHC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert folder() == str(tmp_path / "b" / "graphc")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert folder() == str(tmp_path / "c" / ".cache" / "graphc")
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    assert default_store() is None


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("GRAPHC_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRAPHC_LOG", "cache")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert default_store() is None
    assert "no home folder" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1000", 1000), ("3KiB", 3072), ("512 MiB", 1 << 29), ("2GiB", 1 << 31)]
)
def test_sizes(text: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_size(text) == size
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("GRAPHC_CACHE_LIMIT", text)
    store = default_store()
    assert store is not None
    assert store.limit == size
    monkeypatch.delenv("GRAPHC_CACHE_LIMIT")
    store = default_store()
    assert store is not None
    assert store.limit == DEFAULT_LIMIT


@pytest.mark.parametrize("text", ["x", "-1", "1.5GiB", "1GB", "9" * 30])
def test_sizes_that_are_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("GRAPHC_CACHE_LIMIT", text)
    with pytest.raises(GraphcError, match=r"GRAPHC_CACHE_LIMIT=.* is no size; write bytes, or a number of KiB"):
        default_store()


# --- why something is not there


def test_the_nearest_entry_says_what_differs(store: Store) -> None:
    parts = {"graph": "1", "target": {"cpu": "x", "cores": "2"}, "versions": {"numba": "0.68.1"}}
    assert store.why_missed("things", "step", parts) == "none of this name is cached"
    store.put("things", key_of(parts), b"", "step", parts)
    far = {"graph": "2", "target": {"cpu": "z"}, "versions": {"numba": "0.1"}}
    store.put("things", key_of(far), b"", "step", far)
    assert store.why_missed("things", "other", parts) == "none of this name is cached"
    assert store.why_missed("things", "step", {**parts, "graph": "3"}) == "cached for another graph"
    changed = {**parts, "target": {"cpu": "x", "cores": "4"}, "versions": {"numba": "0.68.2"}}
    assert store.why_missed("things", "step", changed) == (
        "cached for target cores: 2 instead of 4; versions numba: 0.68.1 instead of 0.68.2"
    )


# --- races


def _work(folder: str, seed: int, seconds: float) -> None:
    """Put, get, damage and delete entries: what is got is right, and nothing fails."""
    warnings.simplefilter("ignore", CacheWarning)
    rng = random.Random(seed)
    store = Store(folder, limit=60_000)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        i = rng.randrange(40)
        key = key_of({"graph": str(i)})
        payload = bytes([i]) * (100 * i + 1)
        path = Path(folder, "things", key)
        action = rng.random()
        try:
            if action < 0.05:
                path.unlink()
            elif action < 0.1:
                data = path.read_bytes()
                path.write_bytes(data[: rng.randrange(len(data) + 1)])  # in place: as a crash would leave it
            elif action < 0.12:
                store.clear()
            elif action < 0.5:
                store.put("things", key, payload, "step", PARTS)
        except OSError:  # of this test's own
            pass
        found = store.get("things", key)
        assert found is None or found == payload
        if seed == 0:
            store.why_missed("things", "step", PARTS)
    assert store._writable


def test_processes_race_for_the_same_entries(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    folder = str(tmp_path / "cache")
    workers = [context.Process(target=_work, args=(folder, seed, 1.0)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert not [file for file in os.listdir(Path(folder, "things")) if file.startswith(".")]
