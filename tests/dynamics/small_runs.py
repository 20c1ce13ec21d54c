"""Small runs, compiled once for many seeds, with all that can be logged.

Every batch comes in two halves: their gradients' mean is the step's gradient, and their
difference the gradient's noise.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optix_tricks.dynamics import History
from tests.dynamics.small_data import REGRESSIONS, load

CHUNKS = 20  # the test set is looked at so many times a run


class Problem(NamedTuple):
    """What is trained: `loss(params, half) -> (loss, {"accuracy": ..., "dead": {}})`."""

    init: Callable  # key -> params
    loss: Callable
    halves: Callable  # key -> the two halves of a batch, on a leading axis
    batch_size: Any
    test: Callable | None = None  # params, key -> (loss, accuracy)


def norm(tree: Any) -> jax.Array:
    return optax.tree.norm(tree)


def kernel_norms(tree: Any) -> dict[str, jax.Array]:
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    keystr = jax.tree_util.keystr
    return {
        keystr(p, simple=True, separator="/"): norm(x) for p, x in found if x.ndim > 1
    }


def train(
    problem: Problem,
    optimizer: Callable,  # of the rate
    rate: Callable | float,
    steps: int,
    seeds: range,
    *,
    curvature: bool = False,
) -> list[History]:
    """Train for each seed and return the histories."""
    schedule = rate if callable(rate) else lambda count: jnp.asarray(rate, jnp.float32)
    return train_each(
        lambda: (problem, schedule), optimizer, steps, seeds, {}, curvature=curvature
    )


def train_each(
    setting: Callable,  # of the knobs, to a problem and a schedule
    optimizer: Callable,
    steps: int,
    seeds: Sequence[int],
    knobs: dict[str, np.ndarray],  # numbers of each run: one program trains them all
    *,
    curvature: bool = False,
) -> list[History]:
    """Train for each seed with its knobs and return the histories."""

    def gradient(problem: Problem, params: Any, halves: Any) -> tuple:
        both = jax.vmap(jax.value_and_grad(problem.loss, has_aux=True), in_axes=(None, 0))
        (values, aux), grads = both(params, halves)
        mean = jax.tree.map(lambda x: jnp.mean(x, axis=0), (values, aux, grads))
        difference = jax.tree.map(lambda x: x[0] - x[1], grads)
        return *mean, norm(difference) ** 2

    @jax.jit
    @jax.vmap
    def run(seed: jax.Array, knobs: dict[str, jax.Array]) -> tuple[dict, Any]:
        problem, schedule = setting(**knobs)
        tx = optimizer(schedule)
        key = jax.random.key(seed)
        params = problem.init(jax.random.fold_in(key, 0))

        def step(carry: tuple, count: jax.Array) -> tuple:
            params, opt_state, last, direction, trace, square = carry
            halves = problem.halves(jax.random.fold_in(key, count + 1))
            loss, aux, grads, spread = gradient(problem, params, halves)
            updates, opt_state = tx.update(grads, opt_state, params)
            size = norm(grads)
            # |g|^2 = |G|^2 + trace/B and E|difference|^2 = 4 trace/B.
            trace = 0.98 * trace + 0.02 * spread / 4 * problem.batch_size
            square = 0.98 * square + 0.02 * (size**2 - spread / 4)
            row = {
                "loss": loss,
                "gradient_norm": size,
                "update_norm": norm(updates),
                "parameter_norm": norm(params),
                "learning_rate": schedule(count),
                "batch_size": jnp.asarray(problem.batch_size, jnp.float32),
                "gradient_cosine": optax.tree.vdot(grads, last) / (size * norm(last)),
                "noise_scale": trace / jnp.maximum(square, 1e-4 * trace),
                "layer_gradient_norm": kernel_norms(grads),
                "layer_parameter_norm": kernel_norms(params),
            } | aux
            if curvature:
                hessian = jax.jvp(
                    lambda p: gradient(problem, p, halves)[2], (params,), (direction,)
                )[1]
                row["curvature"] = optax.tree.vdot(hessian, direction)
                scale = 1 / jnp.maximum(norm(hessian), 1e-30)
                direction = optax.tree.scale(scale, hessian)
            params = optax.apply_updates(params, updates)
            return (params, opt_state, grads, direction, trace, square), row

        def chunk(carry: tuple, counts: jax.Array) -> tuple:
            carry, rows = jax.lax.scan(step, carry, counts)
            test = problem.test and problem.test(carry[0], key)
            return carry, (rows, test)

        like = jax.tree.map(lambda x: jax.random.normal(key, x.shape), params)
        direction = optax.tree.scale(1 / norm(like), like)
        carry = params, tx.init(params), params, direction, jnp.zeros(()), jnp.zeros(())
        counts = jnp.arange(steps).reshape(CHUNKS, -1)
        return jax.lax.scan(chunk, carry, counts)[1]

    rows, test = jax.device_get(run(np.asarray(seeds), knobs))
    rows = jax.tree.map(lambda x: np.asarray(x, np.float64).reshape(len(seeds), -1), rows)
    histories = []
    for i in range(len(seeds)):
        columns = jax.tree.map(lambda x, i=i: x[i], rows)
        columns["gradient_cosine"][0] = np.nan
        if test:
            columns["test_step"] = np.arange(1, CHUNKS + 1) * (steps // CHUNKS)
            columns["test_loss"] = np.asarray(test[0][i], np.float64)
            columns["test_accuracy"] = np.asarray(test[1][i], np.float64)
        columns["step"] = np.arange(1, steps + 1)
        if not np.nanmax(columns["noise_scale"]) > 0:  # a loss without noise
            del columns["noise_scale"]
        histories.append(History(**columns))
    return histories


ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": jax.nn.gelu,
    "linear": lambda x: x,
}


def network(
    data: str = "digits",
    *,
    widths: tuple[int, ...] = (32,),
    activation: str | Callable = "relu",
    gain: Any = 1.0,
    bias: Any = 0.0,
    batch_size: int | None = 64,  # None: all of them
    examples: Any = None,  # the first of the training set; None: all of them
    label_noise: Any = None,  # the share of wrong labels
    smoothing: float = 0.0,
    dropout: float = 0.0,
    squared: bool = False,
    shear: float = 0.0,  # decades over which the inputs' scales are spread
    patches: bool = False,  # a convolution of the 8x8 images in front
) -> Problem:
    """A plain net on real data."""
    x, y, x_test, y_test = load(data)
    is_regression = data in REGRESSIONS
    outputs = 1 if is_regression else int(y.max()) + 1
    scales = 10.0 ** (-shear * np.linspace(0, 1, x.shape[1]))
    x, x_test = (jnp.asarray(a * scales, jnp.float32) for a in (x, x_test))
    y = jnp.asarray(y, jnp.float32 if is_regression else jnp.int32)
    y_test = jnp.asarray(y_test, y.dtype)
    size = len(x) // 2 * 2 if batch_size is None else batch_size
    sizes = (x.shape[1], *widths, outputs)
    act = activation if callable(activation) else ACTIVATIONS[activation]

    def init(key: jax.Array) -> dict:
        params = {}
        for i, (a, b) in enumerate(itertools.pairwise(sizes)):
            kernel = jax.random.normal(jax.random.fold_in(key, i), (a, b))
            factor = 2.0 if activation in ("relu", "gelu") else 1.0
            is_hidden = i < len(widths)
            kernel = (
                kernel
                * (gain if is_hidden else jnp.minimum(gain, 1.0))
                * (factor / a) ** 0.5
            )
            params[f"layer{i:02}"] = {
                "kernel": kernel,
                "bias": jnp.full((b,), bias if is_hidden else 0.0),
            }
        if patches:
            kernel = jax.random.normal(jax.random.fold_in(key, 99), (9, 4)) / 3
            params["conv"] = {"kernel": kernel}
            widened = jax.random.normal(jax.random.fold_in(key, 98), (256, sizes[1])) / 12
            params["layer00"]["kernel"] = widened
        return params

    def forward(params: dict, x: jax.Array, key: jax.Array | None) -> tuple:
        dead = {}
        if patches:
            images = jnp.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
            shifts = [images[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
            y = jnp.stack(shifts, -1) @ params["conv"]["kernel"]
            x = jax.nn.relu(y).reshape(len(x), -1)
        for i in range(len(sizes) - 1):
            layer = params[f"layer{i:02}"]
            x = x @ layer["kernel"] + layer["bias"].reshape(1, -1)
            if i < len(widths):
                x = act(x)
                if activation == "relu":
                    silent = jnp.all(x <= 0, axis=0)
                    dead[f"layer{i:02}"] = jnp.mean(silent, dtype=jnp.float32)
                if dropout and key is not None:
                    layer_key = jax.random.fold_in(key, i)
                    kept = jax.random.bernoulli(layer_key, 1 - dropout, x.shape)
                    x = x * kept / (1 - dropout)
        return x, dead

    def losses(out: jax.Array, y: jax.Array, smoothing: float) -> tuple:
        if is_regression:
            return jnp.mean((out[:, 0] - y) ** 2) / 2, jnp.nan
        accuracy = jnp.mean(jnp.argmax(out, 1) == y, dtype=jnp.float32)
        dense = optax.smooth_labels(jax.nn.one_hot(y, outputs), smoothing)
        if squared:
            return jnp.mean(jnp.sum((out - dense) ** 2, 1)) / 2, accuracy
        return jnp.mean(optax.softmax_cross_entropy(out, dense)), accuracy

    def loss(params: dict, half: tuple) -> tuple:
        inputs, targets, key = half
        out, dead = forward(params, inputs, jax.random.wrap_key_data(key))
        value, accuracy = losses(out, targets, smoothing)
        aux = {} if is_regression else {"accuracy": accuracy}
        return value, aux | ({"dead_fraction": dead} if dead else {})

    def labels(index: jax.Array) -> jax.Array:
        if label_noise is None:
            return y[index]
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(5), index)
        draws = jax.vmap(lambda k: jax.random.uniform(k, (2,)))(keys)
        other = jnp.floor(draws[:, 1] * outputs).astype(y.dtype)
        return jnp.where(draws[:, 0] < label_noise, other, y[index])

    def halves(key: jax.Array) -> tuple:
        index = jnp.arange(size)
        if batch_size is not None:
            seen = len(x) if examples is None else examples
            index = jax.random.randint(key, (size,), 0, seen)
        keys = jax.random.key_data(jax.random.split(key, 2))
        return x[index].reshape(2, size // 2, -1), labels(index).reshape(2, -1), keys

    def test(params: dict, key: jax.Array) -> tuple:
        return losses(forward(params, x_test, None)[0], y_test, 0.0)

    return Problem(init, loss, halves, size, test)


def surface(
    function: Callable,
    start: Any,
    *,
    jitter: Any = 0.1,
    noise: Any = 0.0,
    batch_size: Any = 32,
) -> Problem:
    """A loss written down, from a start with `jitter`, its gradient with noise added.

    An example's gradient has noise of variance `noise`^2 in each coordinate.
    """

    def init(key: jax.Array) -> Any:
        leaves, structure = jax.tree.flatten(start)
        keys = jax.random.split(key, len(leaves))
        moved = [
            x + jitter * jax.random.normal(k, jnp.shape(x))
            for x, k in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(structure, moved)

    def loss(params: Any, half: Any) -> tuple:
        return function(params) + optax.tree.vdot(half, params), {}

    def halves(key: jax.Array) -> Any:
        scale = noise / (batch_size / 2) ** 0.5
        keys = jax.random.split(key, len(jax.tree.leaves(start)))
        keys = jax.tree.unflatten(jax.tree.structure(start), list(keys))
        return jax.tree.map(
            lambda x, k: scale * jax.random.normal(k, (2, *jnp.shape(x))), start, keys
        )

    return Problem(init, loss, halves, batch_size)
