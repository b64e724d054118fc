"""Exports a training step and an evaluation step for train_mnist.c.

python examples/c/export.py build            # then: make -C examples/c
"""

import argparse
from pathlib import Path

import graphc
import graphc.nn.functional as F
from graphc import nn, optim


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        return self.fc2(F.relu(self.fc1(x)))


graphc.manual_seed(0)
net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(net.parameters(), lr=4e-3)


@graphc.compile
def train_step(images, labels):
    optimizer.zero_grad()
    loss = criterion(net(images), labels)
    loss.backward()
    optimizer.step()
    return loss


@graphc.compile
def evaluate(images):
    with graphc.no_grad():
        return net(images).argmax(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="host", help="host, or a CPU baseline such as x86-64-v3")
    parser.add_argument("--debug", action="store_true", help="check the arena's red zones after every kernel")
    options = parser.parse_args()
    images, labels = graphc.zeros(64, 1, 28, 28), graphc.zeros(64, dtype=graphc.int64)
    how = {"target": options.target, "debug": options.debug}
    graphc.export(train_step, (images, labels), options.folder / "train_step", **how)
    graphc.export(evaluate, (graphc.zeros(100, 1, 28, 28),), options.folder / "evaluate", **how)
