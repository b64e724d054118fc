"""Train an MLP on bundled digits, or on MNIST in a folder.

Prints the loss and test accuracy of every epoch, then a summary of what was compiled.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.data import MNIST, DataLoader, Dataset, Digits
from graphc.errors import GraphcError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="a folder with MNIST's or Fashion-MNIST's four IDX files")
    parser.add_argument("--epochs", type=int, help="default: 20 on the digits, 3 on MNIST")
    parser.add_argument("--batch-size", type=int, help="default: 32 on the digits, 64 on MNIST")
    parser.add_argument("--hidden", type=int, default=128, help="width of the hidden layer (default: 128)")
    parser.add_argument(
        "--lr", type=float, default=5e-3, help="Adam's learning rate; falls to a tenth (default: 0.005)"
    )
    parser.add_argument("--seed", type=int, default=0)


class Net(nn.Module):
    def __init__(self, pixels: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(pixels, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, x: graphc.Tensor) -> graphc.Tensor:
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def execute(options: argparse.Namespace) -> None:
    try:
        from tqdm import tqdm  # the other commands do without
    except ModuleNotFoundError:
        raise ModuleNotFoundError('the demo needs tqdm: pip install "graphc[demo]"') from None

    train: Dataset
    test: Dataset
    if options.data is None:
        train, test, title = Digits(train=True), Digits(train=False), "scikit-learn's digits"
    else:
        train, test, title = MNIST(options.data, train=True), MNIST(options.data, train=False), str(options.data)
    epochs = options.epochs if options.epochs is not None else 20 if options.data is None else 3
    batch_size = options.batch_size if options.batch_size is not None else 32 if options.data is None else 64
    if epochs < 1 or not 1 <= batch_size <= len(train) or options.hidden < 1:
        raise GraphcError(f"the demo needs an epoch, a hidden unit, and batches of 1 to {len(train)} samples")
    graphc.manual_seed(options.seed)
    net = Net(train[0][0].numel(), options.hidden)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(net.parameters(), lr=options.lr)

    @graphc.compile
    def train_step(images: graphc.Tensor, labels: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    @graphc.compile
    def predict(images: graphc.Tensor) -> graphc.Tensor:
        with graphc.no_grad():
            return net(images).argmax(1)

    print(f"{title}: {len(train)} samples to train on, {len(test)} to test on")
    loader = DataLoader(train, batch_size, shuffle=True, drop_last=True)
    images, labels = next(iter(loader))
    began = time.perf_counter()
    train_step(images, labels)  # the first call compiles
    compile_seconds = time.perf_counter() - began
    step_seconds: list[float] = []
    accuracy = 0.0
    with tqdm(total=epochs * len(loader), unit=" steps") as bar:
        for epoch in range(epochs):
            optimizer.param_groups[0]["lr"] = options.lr * (1 - 0.9 * epoch / max(epochs - 1, 1))
            total = 0.0
            for images, labels in loader:
                began = time.perf_counter()
                loss = train_step(images, labels)
                step_seconds.append(time.perf_counter() - began)
                total += loss.item()
                bar.update()
            accuracy = _accuracy(predict, test)
            tqdm.write(f"epoch {epoch + 1}: loss {total / len(loader):.4f}, test accuracy {accuracy:.4f}")

    lowered = train_step.lower(images, labels)
    cost = lowered.cost()
    median = sorted(step_seconds)[len(step_seconds) // 2]
    print()
    print(f"test accuracy   {accuracy:.4f}")
    print(f"compile time    {compile_seconds:.2f} s")
    print(f"step time       {median * 1e3:.3f} ms (median of {len(step_seconds)})")
    print(f"kernels         {len(cost.kernels)}")
    print(f"arena           {cost.arena_bytes} bytes")


def _accuracy(predict: Any, test: Dataset) -> float:
    right = 0
    for images, labels in DataLoader(test, 500):
        right += int((predict(images) == labels).sum())
    return right / len(test)
