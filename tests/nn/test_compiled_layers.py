"""Every layer, loss and optimizer trains the same compiled and eagerly: five steps from one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.errors import OutOfRangeError
from graphc.tensors.tensor import Tensor

STEPS = 5
ROWS, FEATURES, CLASSES = 8, 6, 4


@pytest.fixture(autouse=True)
def _verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are verified after every pass."""
    monkeypatch.setenv("GRAPHC_VERIFY", "1")


class Recipe(NamedTuple):
    """A layer between two affine ones, what the output is compared with, and how it is trained."""

    layer: Callable[[], nn.Module]
    loss: Callable[[], nn.Module]
    target: str
    optimizer: Callable[[Any], optim.Optimizer]
    dtype: Any = graphc.float32


class Tied(nn.Module):
    """Two layers of one weight, and a parameter without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(5, 5)
        self.b = nn.Linear(5, 5)
        self.b.weight = self.a.weight
        self.scale = nn.Parameter(graphc.tensor(0.5))
        self.register_buffer("seen", graphc.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        with graphc.no_grad():
            self.seen.add_(x.sum(0))
        return self.b(graphc.tanh(self.a(x))) * self.scale


def weights() -> Tensor:
    return graphc.tensor([0.5, 2.0, 1.0, 0.25])


def adam(**options: Any) -> Callable[[Any], optim.Optimizer]:
    return lambda params: optim.Adam(params, lr=0.01, **options)


def sgd(**options: Any) -> Callable[[Any], optim.Optimizer]:
    return lambda params: optim.SGD(params, lr=0.05, **options)


def two_groups(params: Any) -> optim.Optimizer:
    first, *rest = list(params)
    return optim.Adam([{"params": first, "lr": 0.1}, {"params": rest, "weight_decay": 0.1}], lr=0.01)


RECIPES = {
    "relu, cross-entropy, adam": Recipe(nn.ReLU, nn.CrossEntropyLoss, "classes", adam()),
    "relu in place, weighted cross-entropy, sgd": Recipe(
        lambda: nn.ReLU(inplace=True), lambda: nn.CrossEntropyLoss(weights(), reduction="sum"), "classes", sgd()
    ),
    "sigmoid, smoothed cross-entropy, momentum": Recipe(
        nn.Sigmoid, lambda: nn.CrossEntropyLoss(label_smoothing=0.1), "classes", sgd(momentum=0.9)
    ),
    "tanh, cross-entropy of all options, nesterov": Recipe(
        nn.Tanh,
        lambda: nn.CrossEntropyLoss(weights(), ignore_index=1, label_smoothing=0.2),
        "classes",
        sgd(momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "silu, cross-entropy of probabilities, dampening": Recipe(
        nn.SiLU, lambda: nn.CrossEntropyLoss(weights()), "probabilities", sgd(momentum=0.9, dampening=0.5)
    ),
    "gelu, mean square, adamw": Recipe(
        nn.GELU, nn.MSELoss, "numbers", lambda params: optim.AdamW(params, lr=0.01, weight_decay=0.1)
    ),
    "gelu by tanh, smooth l1, amsgrad": Recipe(
        lambda: nn.GELU("tanh"), lambda: nn.SmoothL1Loss(beta=0.5), "numbers", adam(amsgrad=True, weight_decay=0.1)
    ),
    "softplus, l1, rmsprop": Recipe(
        lambda: nn.Softplus(2.0, 1.0), nn.L1Loss, "numbers", lambda params: optim.RMSprop(params, lr=0.01)
    ),
    "log-sigmoid, binary from logits, centered rmsprop": Recipe(
        nn.LogSigmoid,
        lambda: nn.BCEWithLogitsLoss(pos_weight=weights()),
        "probabilities",
        lambda params: optim.RMSprop(params, lr=0.01, centered=True, momentum=0.9, weight_decay=0.1),
    ),
    "softmax, weighted binary from logits, adagrad": Recipe(
        lambda: nn.Softmax(1),
        lambda: nn.BCEWithLogitsLoss(weights(), reduction="sum"),
        "probabilities",
        lambda params: optim.Adagrad(params, lr=0.1),
    ),
    "log-softmax, kullback-leibler, decaying adagrad": Recipe(
        lambda: nn.LogSoftmax(1),
        lambda: nn.KLDivLoss(reduction="batchmean"),
        "probabilities",
        lambda params: optim.Adagrad(params, lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.1),
    ),
    "layer norm, likelihood, uphill": Recipe(
        lambda: nn.LayerNorm(5), lambda: nn.NLLLoss(ignore_index=2), "classes", adam(maximize=True)
    ),
    "layer norm without weights, kullback-leibler of logarithms, groups": Recipe(
        lambda: nn.LayerNorm(5, elementwise_affine=False),
        lambda: nn.KLDivLoss(reduction="mean", log_target=True),
        "numbers",
        two_groups,
    ),
    "dropout, cross-entropy, adam": Recipe(lambda: nn.Dropout(0.3), nn.CrossEntropyLoss, "classes", adam()),
    "tied, mean square, adam": Recipe(Tied, nn.MSELoss, "numbers", adam()),
    "a tree, mean square, sgd": Recipe(
        lambda: nn.Sequential(nn.Flatten(), nn.Identity(), nn.Sequential(nn.Linear(5, 5, bias=False), nn.ReLU())),
        nn.MSELoss,
        "numbers",
        sgd(),
    ),
    "float64, cross-entropy, adam": Recipe(nn.Tanh, nn.CrossEntropyLoss, "classes", adam(), graphc.float64),
}


class Run:
    """A network, its loss and its optimizer, trained on batches from a fixed seed."""

    def __init__(self, recipe: Recipe):
        graphc.manual_seed(3)
        self.recipe = recipe
        self.net = nn.Sequential(nn.Linear(FEATURES, 5), recipe.layer(), nn.Linear(5, CLASSES)).to(recipe.dtype)
        self.loss = recipe.loss()
        self.loss.to(recipe.dtype)
        self.optimizer = recipe.optimizer(self.net.parameters())

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.loss(self.net(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def batches(self, count: int = STEPS) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(0)
        for _ in range(count):
            x = graphc.tensor(rng.normal(size=(ROWS, FEATURES)), dtype=self.recipe.dtype)
            if self.recipe.target == "classes":
                yield x, graphc.tensor(rng.integers(0, CLASSES, ROWS))
                continue
            values = rng.normal(size=(ROWS, CLASSES))
            if self.recipe.target == "probabilities":
                values = np.exp(values) / np.exp(values).sum(1, keepdims=True)
            yield x, graphc.tensor(values, dtype=self.recipe.dtype)

    def everything(self) -> dict[str, Any]:
        """Weights, buffers and the optimizer's state, by name."""
        found = {name: x.numpy() for name, x in self.net.state_dict().items()}
        for number, entries in self.optimizer.state_dict()["state"].items():
            found.update({f"{number}.{name}": x.numpy() for name, x in entries.items()})
        return found


def check_same(eager: Run, compiled: Run, rtol: float, atol: float) -> None:
    expected, found = eager.everything(), compiled.everything()
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_training(recipe: Recipe) -> None:
    eager = Run(recipe)
    expected = [eager.step(x, y).item() for x, y in eager.batches()]
    compiled = Run(recipe)
    step = graphc.compile(compiled.step)
    found = [step(x, y).item() for x, y in compiled.batches()]
    exact = recipe.dtype == graphc.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12 if exact else 2e-6)
    assert len(set(expected)) == STEPS
    check_same(eager, compiled, *((1e-11, 1e-13) if exact else (2e-5, 2e-6)))


# --- what happens between steps


def both(recipe: str) -> tuple[Run, Run, Callable[..., Tensor], Callable[..., Tensor]]:
    eager, compiled = Run(RECIPES[recipe]), Run(RECIPES[recipe])
    return eager, compiled, eager.step, graphc.compile(compiled.step)


def test_options_that_change() -> None:
    """Numbers are read at every call; an option that was zero, and is not, makes another program."""
    eager, compiled, first, second = both("relu in place, weighted cross-entropy, sgd")
    for i, (batch, other) in enumerate(zip(eager.batches(), compiled.batches(), strict=True)):
        for run in (eager, compiled):
            group = run.optimizer.param_groups[0]
            group["lr"] = 0.01 * (i + 1)
            group["weight_decay"] = 0.1 if i >= 3 else 0.0
            group["momentum"] = 0.5 if i >= 2 else 0.0
        np.testing.assert_allclose(second(*other).item(), first(*batch).item(), rtol=2e-6)
    check_same(eager, compiled, 2e-5, 2e-6)


def test_a_group_that_is_added() -> None:
    eager, compiled, first, second = both("relu, cross-entropy, adam")
    for run in (eager, compiled):
        group = run.optimizer.param_groups[0]
        run.late = group["params"].pop()  # type: ignore[attr-defined]
    for i, (batch, other) in enumerate(zip(eager.batches(), compiled.batches(), strict=True)):
        if i == 2:
            for run in (eager, compiled):
                run.optimizer.add_param_group({"params": run.late, "lr": 0.5})  # type: ignore[attr-defined]
        np.testing.assert_allclose(second(*other).item(), first(*batch).item(), rtol=2e-6)
    check_same(eager, compiled, 2e-5, 2e-6)


def test_state_dicts_that_are_loaded() -> None:
    """A checkpoint of both, loaded into what was compiled, goes on as it went on the first time."""
    run = Run(RECIPES["relu, cross-entropy, adam"])
    step = graphc.compile(run.step)
    batches = list(run.batches())
    for x, y in batches[:2]:
        step(x, y)
    weights = {name: x.numpy().copy() for name, x in run.net.state_dict().items()}
    saved = run.optimizer.state_dict()
    first = [step(x, y).item() for x, y in batches[2:]]
    run.net.load_state_dict(weights)
    run.optimizer.load_state_dict(saved)
    assert [step(x, y).item() for x, y in batches[2:]] == first

    other = Run(RECIPES["relu, cross-entropy, adam"])
    again = graphc.compile(other.step)
    other.net.load_state_dict(weights)
    other.optimizer.load_state_dict(saved)
    assert [again(x, y).item() for x, y in batches[2:]] == first


def test_state_that_is_thrown_away() -> None:
    eager, compiled, first, second = both("relu, cross-entropy, adam")
    for i, (batch, other) in enumerate(zip(eager.batches(), compiled.batches(), strict=True)):
        if i == 3:
            eager.optimizer.state.clear()
            compiled.optimizer.state.clear()
        np.testing.assert_allclose(second(*other).item(), first(*batch).item(), rtol=2e-6)
    check_same(eager, compiled, 2e-5, 2e-6)


def test_eager_and_compiled_steps_in_turn() -> None:
    eager, compiled, first, second = both("gelu, mean square, adamw")
    for i, (batch, other) in enumerate(zip(eager.batches(), compiled.batches(), strict=True)):
        step = second if i % 2 else compiled.step
        np.testing.assert_allclose(step(*other).item(), first(*batch).item(), rtol=2e-6)
    check_same(eager, compiled, 2e-5, 2e-6)


def test_train_and_eval() -> None:
    net = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5))
    forward = graphc.compile(net)
    x = graphc.ones(8, 4)
    with graphc.no_grad():
        trained = forward(x).numpy()
        net.eval()
        plain = forward(x).numpy()
        np.testing.assert_allclose(plain, net(x).numpy(), rtol=1e-6)
        assert (trained == 0).mean() > 0.3
        assert not (plain == 0).any()
        net.train()
        assert (forward(x).numpy() == 0).mean() > 0.3


def test_dropout_draws_the_same_masks() -> None:
    drop = nn.Dropout(0.4)
    x = graphc.ones(50)
    compiled = graphc.compile(lambda x: drop(x))
    graphc.manual_seed(9)
    eager = [drop(x).tolist() for _ in range(3)]
    graphc.manual_seed(9)
    assert [compiled(x).tolist() for _ in range(3)] == eager
    assert eager[0] != eager[1]


def test_gradients_set_to_zero_rather_than_forgotten() -> None:
    """Also where a compiled step did not keep them."""
    run = Run(RECIPES["relu, cross-entropy, adam"])

    def train(x: Tensor, y: Tensor) -> Tensor:
        run.optimizer.zero_grad(set_to_none=False)
        loss = run.loss(run.net(x), y)
        loss.backward()
        run.optimizer.step()
        return loss

    eager = Run(RECIPES["relu, cross-entropy, adam"])
    step = graphc.compile(train)
    for (x, y), (a, b) in zip(run.batches(), eager.batches(), strict=True):
        np.testing.assert_allclose(step(x, y).item(), eager.step(a, b).item(), rtol=2e-6)
        np.testing.assert_allclose(step(x[:3], y[:3]).item(), eager.step(a[:3], b[:3]).item(), rtol=2e-6)
    run.optimizer.zero_grad(set_to_none=False)
    run.net.zero_grad(set_to_none=False)


def test_gradients_that_accumulate() -> None:
    eager, compiled = (Run(RECIPES["relu, cross-entropy, adam"]) for _ in range(2))

    def accumulate(run: Run) -> Callable[[Tensor, Tensor], None]:
        return lambda x, y: run.loss(run.net(x), y).backward()

    first, second = accumulate(eager), graphc.compile(accumulate(compiled))
    for run, function in ((eager, first), (compiled, second)):
        for x, y in run.batches():
            function(x, y)
        run.optimizer.step()
    check_same(eager, compiled, 2e-5, 2e-6)


def test_closures() -> None:
    eager, compiled = (Run(RECIPES["gelu, mean square, adamw"]) for _ in range(2))

    def closing(run: Run) -> Callable[[Tensor, Tensor], Tensor]:
        def step(x: Tensor, y: Tensor) -> Tensor:
            def closure() -> Tensor:
                run.optimizer.zero_grad()
                loss = run.loss(run.net(x), y)
                loss.backward()
                return loss

            found = run.optimizer.step(closure)
            assert found is not None
            return found

        return step

    first, second = closing(eager), graphc.compile(closing(compiled))
    for batch, other in zip(eager.batches(), compiled.batches(), strict=True):
        np.testing.assert_allclose(second(*other).item(), first(*batch).item(), rtol=2e-6)
    check_same(eager, compiled, 2e-5, 2e-6)


def test_a_step_that_cannot_be_traced_leaves_no_state_behind() -> None:
    run = Run(RECIPES["relu, cross-entropy, adam"])

    def step(x: Tensor, y: Tensor) -> Tensor:
        loss = run.step(x, y)
        if loss > 0:
            return loss
        return loss * 2

    ((x, y),) = run.batches(1)
    with pytest.raises(graphc.TracingError):
        graphc.compile(step)(x, y)
    assert not any(run.optimizer.state.values())
    assert all(p.grad is None for p in run.net.parameters())


def test_a_failed_trace_takes_back_what_it_did_to_a_modules_members() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Linear(2, 2))
    net.note = 3
    net.register_buffer("seen", graphc.zeros(2))
    before = (list(net.__dict__), repr(net), list(net.state_dict()), net.note)

    def step(x: Tensor) -> Tensor:
        del net.note, net.seen
        net.append(nn.Tanh())
        net[0] = nn.Sigmoid()
        net.register_buffer("other", None)
        net.seen = 5
        return x if x.sum() > 0 else -x

    with pytest.raises(graphc.TracingError, match="branch"):
        graphc.compile(step)(graphc.ones(2))
    assert (list(net.__dict__), repr(net), list(net.state_dict()), net.note) == before


def test_a_traced_tensor_cannot_become_a_buffer() -> None:
    net = nn.Module()
    with pytest.raises(graphc.TracingError, match=r"Module\.seen is set to a traced tensor"):
        graphc.compile(lambda x: net.register_buffer("seen", x * 2))(graphc.ones(2))
    assert not net._buffers


def test_a_class_out_of_range_is_located() -> None:
    compiled = graphc.compile(lambda x, y: F.cross_entropy(x, y))
    assert compiled(graphc.zeros(2, 3), graphc.tensor([0, 2])).item() == pytest.approx(np.log(3))
    with pytest.raises(OutOfRangeError, match=r"test_compiled_layers.py:\d+: .*low = 0, high = 3.*out of range"):
        compiled(graphc.zeros(2, 3), graphc.tensor([0, 3]))
    assert compiled(graphc.zeros(2, 3), graphc.tensor([1, -100])).item() == pytest.approx(np.log(3))


def test_saturated_binary_cross_entropy() -> None:
    p = graphc.tensor([0.0, 0.0, 1.0, 1.0, 1e-30, 0.5])
    t = graphc.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.5])

    def values(p: Tensor) -> Tensor:
        return F.binary_cross_entropy(p, t, reduction="sum")

    compiled = graphc.compile(graphc.value_and_grad(values))
    (a, b), (c, d) = graphc.value_and_grad(values)(p), compiled(p)
    np.testing.assert_allclose([a.item(), *b.tolist()], [c.item(), *d.tolist()], rtol=1e-5)


@pytest.mark.parametrize("dtype", [graphc.float16, graphc.bfloat16], ids=str)
def test_half_precisions(dtype: Any) -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3)).to(dtype)
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    @graphc.compile
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = graphc.randn(6, 4, dtype=dtype), graphc.tensor([0, 1, 2, 0, 1, 2])
    losses = [step(x, y).item() for _ in range(30)]
    assert step(x, y).dtype == dtype
    assert losses[-1] < 0.7 * losses[0]
