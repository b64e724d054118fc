"""The ways in which scripts import the parts, each as the first import of a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

import graphc.data
import graphc.nn.functional
import graphc.optim

STATEMENTS = [
    "from graphc import nn, optim",
    "import graphc.nn.functional as F; F.relu",
    "import graphc.nn as nn; nn.init.uniform_",
    "import graphc.optim; graphc.optim.Adam",
    "from graphc.data import MNIST, DataLoader, Digits, TensorDataset, random_split",
    "from graphc.nn.parameter import Parameter",
    "from graphc.optim.optimizer import Optimizer",
    "import graphc; graphc.nn.Linear(2, 3)(graphc.ones(1, 2)); graphc.optim.SGD; graphc.data.DataLoader",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_import(statement: str) -> None:
    """None of them loads the code generator, or a library that is an extra."""
    check = "import sys; heavy = {'numba', 'sklearn', 'torch'} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", f"{statement}; {check}"], check=True)


def test_every_name_is_there() -> None:
    for module in (graphc.nn, graphc.nn.functional, graphc.optim, graphc.data):
        assert all(hasattr(module, name) for name in module.__all__)
        assert len(set(module.__all__)) == len(module.__all__)
