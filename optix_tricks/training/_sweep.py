"""Many trainings in one call: settings × seeds, on any number of devices.

Hyperparameters are arguments of one compiled step, so that no setting compiles anything.
Seeds are paired: a seed draws the same initial values and the same batches under every
setting, and differences between settings are free of both.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from optix_tricks._checks import check_count, check_positive
from optix_tricks._paths import Examples
from optix_tricks._tree import PyTree, check_arrays
from optix_tricks.training._hosts import refuse_hosts
from optix_tricks.training._members import Members
from optix_tricks.training._orders import epoch_order, steps_per_epoch, total_steps
from optix_tricks.training._stacked import Evaluate, Stack, Step, batch_of
from optix_tricks.training._ways import Way, fastest_way, measure_ways

Mode = Literal["auto", "loop", "vmap", "map"]
History = dict[str, Float[np.ndarray, "settings seeds epochs *steps"]]


class Seen(NamedTuple):
    """How a sweep was run, and why."""

    seconds: dict[Way, float]  # of a step of all that is stacked; NaN if not measured
    ways: tuple[Way, ...]  # of each epoch


class Sweep(NamedTuple):
    """What a sweep came to."""

    settings: PyTree
    seeds: tuple[int, ...]
    history: History  # NaN after a stop; what `evaluate` returns has no steps
    epochs: Int[np.ndarray, "settings seeds"]  # trained
    states: PyTree  # each member's last, [settings, seeds, ...], on the first device
    seen: Seen


def sweep(
    init: Callable[[PyTree, int], PyTree],
    step: Step,
    *,
    settings: Examples,
    seeds: Sequence[int],
    data: Examples,
    epochs: int | float,
    batch_size: int,
    evaluate: Evaluate | None = None,
    test_data: Examples = None,
    test_batch_size: int = 500,
    stop: Callable[[History], Bool[np.ndarray, "settings seeds"]] | None = None,
    mode: Mode = "auto",
    chunk_size: int = 4,
    scan: bool | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Sweep:
    """Train every setting with every seed, each pair a member of the sweep.

    Members share nothing: one that diverges disturbs none. One that is stopped costs
    nothing from the next epoch on, up to the filling of the last chunk: the others close
    ranks, and no step is compiled for fewer of them.

    Helps with many small trainings, whose steps cost more to dispatch than to compute.
    Does little for large networks, which take as long as one after the other. Cost: the
    states of all members, and those of one chunk twice. "auto" compiles two to five
    programs in place of one: name a mode where the whole sweep takes but seconds.

    Args:
        init: `init(setting, seed)` returns the state of a member before its first step,
            any tree of arrays. It is called once a member, and not compiled: give it in
            `jax.jit` where it can be.
        step: `step(setting, state, batch) -> (state, metrics)`, pure and not compiled;
            metrics are a dict of scalars.
        settings: hyperparameters, a tree of arrays [settings, ...]; members get a row.
        seeds: whole numbers; a seed's batches are those of `epoch_order` with
            `jax.random.key(seed)`.
        data: to train on, a `Batch` or any tree of arrays with examples first. Each
            device gets a copy.
        epochs: of each member; of a fraction of one the first batches.
        batch_size: an incomplete last batch is dropped.
        evaluate: `evaluate(state, batch)` returns a dict of numbers per example [batch];
            their means over `test_data` after each epoch join the history.
        test_data: like `data`.
        test_batch_size: examples in a call of `evaluate`; a smaller last one, where they
            do not divide, is compiled for itself.
        stop: `stop(history)`, called after each epoch with the history until then, tells
            who stops, [settings, seeds].
        mode: "loop" trains one member after the other, "vmap" all of them stacked, "map"
            chunks of them stacked, one chunk after the other. "auto" measures some steps
            on copies of the states, and takes for each epoch the way that is fastest for
            as many members as are left.
        chunk_size: of "map"; members on each device.
        scan: whether an epoch is one compiled loop or a call for each step. None leaves
            it to the measurement of "auto"; for other modes, compiled on accelerators
            and called on a CPU, where XLA runs convolutions inside a loop about 14 times
            slower.
        devices: among which members are shared out; the default one alone if None.

    Returns:
        Histories, last states, and how it was run.

    Raises:
        HostsError: where several processes train together.
        ValueError: if an argument is out of range, the arrays of `settings` differ in
            length, metrics have a wrong shape, or what `stop` returns has.

    Examples:
        >>> def step(rate, w, x):
        ...     loss, slope = jax.value_and_grad(lambda w: jnp.mean((w - x) ** 2))(w)
        ...     return w - rate * slope, {"loss": loss}
        >>> result = sweep(
        ...     lambda rate, seed: jnp.float32(seed),
        ...     step,
        ...     settings=jnp.array([0.01, 0.1, 10.0]),
        ...     seeds=[0, 1],
        ...     data=jnp.linspace(0.0, 2.0, 32),
        ...     epochs=3,
        ...     batch_size=8,
        ...     stop=lambda history: history["loss"][..., -1, -1] > 100,
        ...     mode="vmap",
        ... )
        >>> result.history["loss"].shape
        (3, 2, 3, 4)
        >>> result.epochs
        array([[3, 3], [3, 3], [1, 1]])
    """
    refuse_hosts("a sweep")
    check_positive("epochs", epochs)
    check_count("test_batch_size", test_batch_size, minimum=1)
    check_count("chunk_size", chunk_size, minimum=1)
    if (evaluate is None) != (test_data is None):
        raise ValueError("evaluate and test_data must be given together, got one.")
    if evaluate is not None and not len(jax.tree.leaves(test_data)[0]):
        raise ValueError("test_data must hold at least one example, got none.")
    if not len(seeds):
        raise ValueError("seeds must hold at least one, got none.")
    settings = jax.tree.map(jnp.asarray, settings)
    shape = (_length(settings), len(seeds))
    size = len(jax.tree.leaves(data)[0])
    steps = steps_per_epoch(size, batch_size)
    total = total_steps(float(epochs), size, batch_size)
    whole = -(-total // steps)  # epochs, the last one of which may be short
    rows = [jax.tree.map(lambda x, k=k: x[k], settings) for k in range(shape[0])]
    states = [init(row, seed) for row in rows for seed in seeds]
    check_arrays("init's states", states)
    metrics = _names(lambda b: step(rows[0], states[0], b)[1], data, batch_size, ())
    test_metrics: list[str] = []
    if evaluate is not None:
        each = (test_batch_size,)
        test_metrics = _names(lambda b: evaluate(states[0], b), test_data, *each, each)
    if twice := set(metrics) & set(test_metrics):
        raise ValueError(
            "evaluate must name its numbers unlike the step's metrics, got "
            f"{', '.join(sorted(twice))}."
        )
    history = {name: np.full((*shape, whole, steps), np.nan) for name in metrics}
    history |= {name: np.full((*shape, whole), np.nan) for name in test_metrics}

    stack = Stack(
        setting=jax.tree.map(lambda x: jnp.repeat(x, shape[1], axis=0), settings),
        seed=jnp.tile(jnp.arange(shape[1]), shape[0]),
        state=jax.tree.map(lambda *xs: jnp.stack(xs), *states),
        record=jnp.zeros((len(states), len(metrics), steps)),
    )
    members = Members(
        stack,
        step,
        evaluate or _no_metrics,
        data=data,
        test_data=test_data,
        test_batch_size=test_batch_size,
        test_metrics=len(test_metrics),
        devices=devices or jax.local_devices()[:1],
    )
    del states, stack
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])

    def order(epoch: int) -> Int[Array, "seeds steps batch"]:
        return jax.vmap(lambda key: epoch_order(key, epoch, size, batch_size))(keys)

    current = order(0)
    if mode == "auto":
        seconds = measure_ways(
            lambda way: members.trial(way, current),
            members=members.per_device,
            steps=steps,
            scan=scan,
        )
    else:
        stacked = {"loop": 1, "map": chunk_size}.get(mode, members.per_device)
        scan = jax.default_backend() != "cpu" if scan is None else scan
        seconds = {Way(min(stacked, members.per_device), scan): np.nan}

    alive, trained, ways = np.ones(shape, bool), np.zeros(shape, int), []
    for epoch in range(whole):
        if not alive.any():
            break
        ways.append(fastest_way(seconds, members.share(alive.ravel())))
        results = members.train_epoch(
            *(ways[-1], current, alive.ravel()),
            steps=min(steps, total - epoch * steps),
        )
        current = order(epoch + 1)  # while the devices are at work
        for values, column in zip(history.values(), results(), strict=True):
            values[:, :, epoch] = column.reshape(*shape, *column.shape[1:])
        trained += alive
        if stop is not None:
            so_far = {name: x[:, :, : epoch + 1] for name, x in history.items()}
            alive &= ~_stopped(stop(so_far), shape)
    states = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), members.states())
    return Sweep(
        settings, tuple(seeds), history, trained, states, Seen(seconds, tuple(ways))
    )


def _no_metrics(state: PyTree, batch: PyTree) -> dict[str, Array]:
    del state, batch
    return {}


def _length(settings: PyTree) -> int:
    """How many rows all arrays have."""
    shapes = [x.shape for x in jax.tree.leaves(settings)]
    lengths = {shape[:1] for shape in shapes}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        raise ValueError(
            "settings must be arrays of one length, a row for each setting, got shapes "
            f"{shapes}."
        )
    return shapes[0][0]


def _names(
    measure: Callable[[PyTree], dict[str, Array]],
    data: PyTree,
    batch_size: int,
    shape: tuple[int, ...],
) -> list[str]:
    """The names of metrics of a batch, sorted, once their shapes are right."""
    index = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    metrics = jax.eval_shape(lambda d, i: measure(batch_of(d, i)), data, index)
    for name, metric in metrics.items():
        if metric.shape != shape:
            raise ValueError(
                f"metric {name!r} must have shape {shape}, got {metric.shape}."
            )
    return sorted(metrics)


def _stopped(answer: Any, shape: tuple[int, int]) -> Bool[np.ndarray, "settings seeds"]:
    stopped = np.asarray(answer, bool)
    if stopped.shape != shape:
        raise ValueError(
            f"stop must return an array [settings, seeds], {shape}, got {stopped.shape}."
        )
    return stopped
