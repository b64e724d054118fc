"""No modules: parameters are a dict of tensors, `value_and_grad` differentiates a plain function of them.

Fits y = sin(3x) with a small MLP and plain gradient descent.

    python examples/functional.py --steps 500
"""

import argparse
import math

import graphc

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=500)
options = parser.parse_args()

graphc.manual_seed(0)
WIDTH = 32
params = {
    "w1": graphc.randn(1, WIDTH) * 2.0,
    "b1": graphc.randn(WIDTH),
    "w2": graphc.randn(WIDTH, 1) / math.sqrt(WIDTH),
    "b2": graphc.zeros(1),
}
x = graphc.linspace(-1.0, 1.0, 64).reshape(64, 1)
y = graphc.sin(3.0 * x)


def loss_of(params, x, y):
    hidden = graphc.tanh(x @ params["w1"] + params["b1"])
    return ((hidden @ params["w2"] + params["b2"] - y) ** 2).mean()


@graphc.compile
def step(params, x, y):
    loss, grads = graphc.value_and_grad(loss_of)(params, x, y)
    return loss, {name: value - 0.1 * grads[name] for name, value in params.items()}


for i in range(options.steps):
    loss, params = step(params, x, y)
    if i % 100 == 0:
        print(f"step {i}: loss {loss.item():.6f}")
print(f"final loss {loss.item():.6f}")


@graphc.compile
def curvature(x):
    """The second derivative of sin(3x): gradients of gradients."""
    return graphc.grad(lambda x: graphc.grad(lambda x: graphc.sin(3.0 * x).sum())(x).sum())(x)


error = graphc.abs(curvature(x) + 9.0 * graphc.sin(3.0 * x)).max().item()
print(f"second derivative off by at most {error:.1e}")
