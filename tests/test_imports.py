"""Imports go one way, stand at the top of files, and `import graphc` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("ir", "passes", "codegen", "runtime")

# The cache on disk, in which code generation keeps kernels.
CACHE = ("graphc.runtime.cache", "graphc.runtime.cache_entry", "graphc.runtime.cache_versions")

# What each folder may import of graphc (itself is always allowed) and of other packages; None: anything.
ALLOWED: dict[str, tuple[tuple[str, ...], tuple[str, ...] | None]] = {
    "ir": ((), ("numpy", "ml_dtypes")),
    "passes": (("graphc.ir",), ("numpy",)),
    "codegen": (
        (
            "graphc.ir",
            "graphc.runtime.program",
            "graphc.runtime.pool_ir",
            "graphc.runtime.forks",
            "graphc.runtime.messages",
            *CACHE,
        ),
        ("numpy", "ml_dtypes", "numba", "llvmlite"),
    ),
    "runtime": (
        ("graphc.ir.types", "graphc.ir.errors", "graphc.ir.location"),
        ("numpy", "ml_dtypes", "llvmlite", "safetensors"),
    ),
}

# Imports inside functions: file -> the modules it may load late, and why.
LATE = {
    "graphc/data/digits.py": {"sklearn.datasets"},  # an extra, slow to import
    "graphc/cli/demo.py": {"tqdm"},  # an extra; the other commands do without
}


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(node: ast.AST) -> Iterator[tuple[str, int]]:
    """(module, line) of every import below a node, but for those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import in line {child.lineno}"
            yield from ((f"{child.module}.{alias.name}", child.lineno) for alias in child.names)
        else:
            yield from imports(child)


def own_files() -> list[Path]:
    listed = [path for folder in FOLDERS for path in files(folder)]
    graphc = [path for path in files("graphc") if path.relative_to(ROOT / "graphc").parts[0] not in FOLDERS]
    return listed + graphc


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_import_one_way(folder: str) -> None:
    own, others = ALLOWED[folder]
    for path in files(folder):
        for module, line in imports(ast.parse(path.read_text())):
            top = module.split(".")[0]
            if top == "graphc":
                allowed = (f"graphc.{folder}", *own)
                assert any(module == a or module.startswith(f"{a}.") for a in allowed), f"{path}:{line}: {module}"
            elif top not in sys.stdlib_module_names:
                assert others is None or top in others, f"{path}:{line}: {module}"


def test_imports_stand_at_the_top() -> None:
    for path in own_files():
        allowed = LATE.get(str(path.relative_to(ROOT)), set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for module, line in imports(node):
                    name = module.rpartition(".")[0] or module
                    assert name in allowed, f"{path}:{line}: import of {module} inside a function"


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import graphc; graphc.Tensor; graphc.compile; graphc.grad",
        "from graphc import nn, optim; import graphc.data; import graphc.nn.functional",
        "import graphc; x = graphc.ones(2, requires_grad=True); (x * x).sum().backward()",
        "import graphc.runtime.artifact, graphc.runtime.executor",
    ],
)
def test_numba_is_loaded_only_to_compile(statement: str) -> None:
    modules = loaded_after(statement)
    assert "graphc" in modules
    assert not {"numba", "torch", "jax", "sklearn"} & modules


def test_the_package_alone_loads_nothing() -> None:
    assert not {"numba", "llvmlite", "graphc.tensors"} & loaded_after("import graphc")


def test_the_runtime_loads_no_compiler() -> None:
    modules = loaded_after("import graphc.runtime.artifact")
    assert not any(m.startswith(("graphc.passes", "graphc.codegen")) for m in modules)
