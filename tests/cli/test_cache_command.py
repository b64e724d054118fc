"""`graphc cache`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graphc.cli import main
from graphc.runtime.cache import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GRAPHC_CACHE_LIMIT", "64MiB")
    return Store(str(tmp_path / "cache"))


def filled(store: Store) -> None:
    store.put("programs", "a" * 64, bytes(3000), "train_step", {})
    store.put("kernels", "b" * 64, bytes(100), "kernel_1\n", {})
    store.put("kernels", "c" * 64, bytes(2 << 20), "kernel_2", {})
    Path(store.folder, "kernels", "d" * 64).write_bytes(b"damaged")
    for key, age in (("a", 30), ("b", 7300), ("c", 300), ("d", 300_000)):
        kind = "programs" if key == "a" else "kernels"
        path = Path(store.folder, kind, key * 64)
        now = path.stat().st_mtime
        os.utime(path, (now - age, now - age))


def test_a_summary(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{store.folder}\n0 B of at most 64.0 MiB\n"
    filled(store)
    assert main(["cache"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == store.folder
    assert [line.split()[:3] for line in printed[1:3]] == [["3", "kernels", "2.0"], ["1", "programs", "3.1"]]
    assert printed[3] == "2.0 MiB of at most 64.0 MiB"


def test_a_list(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    filled(store)
    assert main(["cache", "list"]) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in printed] == ["programs", "kernels", "kernels", "kernels"]
    assert [line[3] for line in printed] == ["30s", "5min", "2h", "3d"]
    assert [line[4:] for line in printed] == [
        ["a" * 12, "train_step"],
        ["c" * 12, "kernel_2"],
        ["b" * 12, "'kernel_1\\n'"],
        ["d" * 12, "(damaged)"],
    ]


def test_clearing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    filled(store)
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"removed 4 entries, 2.0 MiB, from {store.folder}\n"
    assert store.entries() == []
    assert main(["cache", "clear"]) == 0
    assert "removed 0 entries" in capsys.readouterr().out


def test_no_cache(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    assert main(["cache"]) == 1
    assert "graphc cache: the cache is off: GRAPHC_CACHE=0 is set" in capsys.readouterr().err


def test_a_folder_that_is_refused(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    filled(store)
    os.chmod(store.folder, 0o777)
    assert main(["cache", "clear"]) == 1
    assert "can be written by other users" in capsys.readouterr().err


def test_a_limit_that_is_none(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_LIMIT", "large")
    assert main(["cache"]) == 1
    assert "GRAPHC_CACHE_LIMIT='large' is no size" in capsys.readouterr().err
