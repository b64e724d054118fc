"""What a wheel holds."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("ir", "passes", "codegen", "runtime")


def test_wheel_holds_every_module_and_the_type_marker(tmp_path: Path) -> None:
    copy = tmp_path / "source"
    copy.mkdir()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    names = [name for name in tracked.decode().split("\0") if name and (ROOT / name).exists()]
    subprocess.run(["cp", "-P", "--parents", *names, str(copy)], cwd=ROOT, check=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    expected = {"graphc/py.typed"}
    for name in names:
        top = name.split("/")[0]
        if name.endswith(".py") and top in (*FOLDERS, "graphc"):
            expected.add(name if top == "graphc" else f"graphc/{name}")
    assert len(expected) > 100
    assert expected <= held, sorted(expected - held)
    assert not any(name.split("/")[0] in (*FOLDERS, "tests", "benchmarks") for name in held)
