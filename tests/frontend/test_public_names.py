"""What `import graphc` offers."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path

import pytest

import graphc


def stub_names() -> set[str]:
    tree = ast.parse((Path(graphc.__file__).parent / "__init__.pyi").read_text())
    imported = [alias.asname or alias.name for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names]
    declared = [ast.unparse(node.target) for node in tree.body if isinstance(node, ast.AnnAssign)]
    return {*imported, *declared} - {"__version__"}


def test_every_name_loads() -> None:
    for name in graphc.__all__:
        assert getattr(graphc, name) is not None
    assert dir(graphc) == graphc.__all__


def test_the_stub_lists_the_same_names() -> None:
    assert stub_names() == set(graphc.__all__)


def test_no_module_hides_a_name() -> None:
    """Importing graphc.x sets the attribute x of the package."""
    modules = {m.name for m in pkgutil.iter_modules(graphc.__path__)}
    assert not modules & (set(graphc.__all__) - {"autograd", "data", "nn", "optim", "random", "tracing"})


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tensro'"):
        _ = graphc.tensro
