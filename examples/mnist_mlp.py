"""An MLP on MNIST: PyTorch's tutorial with its imports changed.

Compiled, and the same program op by op, to debug:

    python examples/mnist_mlp.py --data path/to/mnist      # the folder with the four IDX files
    python examples/mnist_mlp.py --eager --steps 20
"""

import argparse
from pathlib import Path

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.data import MNIST, DataLoader

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", type=Path, default=Path("../shared/data/mnist"), help="folder of the four IDX files")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--steps", type=int, help="stop after so many steps, printing the loss of each")
parser.add_argument("--eager", action="store_true", help="leave out the compiler")
parser.add_argument("--export", type=Path, help="write the trained step as a library under this path prefix")
options = parser.parse_args()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


graphc.manual_seed(0)
net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(net.parameters(), lr=5e-3)


def train_step(images, labels):
    optimizer.zero_grad()
    loss = criterion(net(images), labels)
    loss.backward()
    optimizer.step()
    return loss


def predict(images):
    with graphc.no_grad():
        return net(images).argmax(1)


if not options.eager:
    train_step = graphc.compile(train_step)
    predict = graphc.compile(predict)

train = DataLoader(MNIST(options.data, train=True), batch_size=64, shuffle=True, drop_last=True)
test = MNIST(options.data, train=False)
if options.steps is not None:
    for step, (images, labels) in zip(range(options.steps), train, strict=False):
        print(step, f"{train_step(images, labels).item():.7f}")
    raise SystemExit

for epoch in range(options.epochs):
    # Ends at a tenth of the rate. It is an input of the compiled step, which is not compiled again.
    optimizer.param_groups[0]["lr"] = 5e-3 * (1 - 0.9 * epoch / max(options.epochs - 1, 1))
    for images, labels in train:
        loss = train_step(images, labels)
    right = sum((predict(images) == labels).sum().item() for images, labels in DataLoader(test, 500))
    print(f"epoch {epoch + 1}: loss {loss.item():.4f}, test accuracy {right / len(test):.4f}")

if options.export is not None:
    graphc.export(train_step, (images, labels), options.export)
