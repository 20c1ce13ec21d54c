"""The same small problem trained by PyTorch and by JAX, step for step; their schedules.

The loss depends on the parameters through a nonlinearity, so that an error in one step
goes into all later gradients. It is strictly convex, so that roundings do not grow.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch.optim import lr_scheduler

from optix_tricks.compat import torch as ours

STEPS = 120
LR = 0.05
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
torch.set_num_threads(1)


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets, first parameters; numbers that float32 holds."""
    rng = np.random.default_rng(seed)
    shapes = (16, 5), (16, 3), (5, 3)
    return tuple(rng.normal(size=s).astype(np.float32).astype(float) for s in shapes)


def loss_of(library: Any, x: Any, y: Any, w: Any) -> Any:
    smooth = library.mean(library.sqrt(1 + (x @ w - y) ** 2))
    return smooth + 0.05 * library.sum(w**2)


def torch_path(
    make: Callable[[list], torch.optim.Optimizer],
    make_scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
    *,
    dtype: str,
    seed: int = 0,
    sign: float = 1.0,
    clip: Callable[[list], Any] | None = None,
    steps: int = STEPS,
) -> tuple[np.ndarray, list[float], torch.optim.Optimizer]:
    """The parameters after each step, the rate of each step, the optimiser."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # of the state that is a scalar
    try:
        x, y, w = (torch.tensor(a, dtype=getattr(torch, dtype)) for a in problem(seed))
        optimizer = make([w.requires_grad_()])
        scheduler = make_scheduler(optimizer) if make_scheduler else None
        path, rates = [], []
        for _ in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))

            def closure():
                optimizer.zero_grad()
                value = sign * loss_of(torch, x, y, w)
                value.backward()
                if clip:
                    clip([w])
                return value

            optimizer.step(closure)
            if scheduler:
                scheduler.step()
            path.append(w.detach().numpy().copy())
    finally:
        torch.set_default_dtype(before)
    return np.stack(path), rates, optimizer


def jax_path(
    make: Callable[[], optax.GradientTransformation],
    *,
    dtype: str,
    seed: int = 0,
    sign: float = 1.0,
    steps: int = STEPS,
) -> tuple[np.ndarray, Any]:
    """The parameters after each step, and the last state."""
    with jax.enable_x64(dtype == "float64"):
        x, y, w = (jnp.asarray(a, dtype) for a in problem(seed))
        tx = make()

        def step(carry, _):
            w, state = carry
            grads = jax.grad(lambda w: sign * loss_of(jnp, x, y, w))(w)
            updates, state = tx.update(grads, state, w)
            w = optax.apply_updates(w, updates)
            return (w, state), w

        start = (w, tx.init(w))
        (_, state), path = jax.jit(lambda s: jax.lax.scan(step, s, length=steps))(start)
        assert path.dtype == dtype
        return np.asarray(path), jax.tree.map(np.asarray, state)


def assert_same_path(got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
    """Each step's largest error, relative to the largest number of that step."""
    assert not np.allclose(want[0], want[-1], rtol=1e-3)
    error = np.abs(got - want).max(axis=(1, 2)) / np.abs(want).max(axis=(1, 2))
    assert (error <= tolerance).all(), (
        f"off by {error.max():.1e} at step {error.argmax() + 1}"
    )


def scheduler_of(name: str, arguments: dict[str, Any]) -> Any:
    """Our scheduler; cyclical ones bring their own rates."""
    scheduler = getattr(ours, name)
    is_cyclical = name in ("CyclicLR", "OneCycleLR")
    return scheduler(**arguments) if is_cyclical else scheduler(LR, **arguments)


def assert_scheduler_goes_with_torch(name: str, arguments: dict[str, Any]) -> None:
    """The rates and momenta of all steps are PyTorch's, in both precisions."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR, momentum=0.9)
    scheduler = getattr(lr_scheduler, name)(optimizer, **arguments)
    rates, momenta = [], []
    for step in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if step < STEPS - 1:
            scheduler.step()
    for dtype, rtol in (("float32", 2e-6), ("float64", 1e-11)):
        with jax.enable_x64(dtype == "float64"):
            schedule = scheduler_of(name, arguments)
            momentum = getattr(schedule, "momentum", lambda count: jnp.full(STEPS, 0.9))
            got, cycled, one = jax.jit(
                lambda t, f=schedule, m=momentum: (f(t), m(t), f(t[17]))
            )(jnp.arange(STEPS))
        assert got.dtype == dtype
        atol = rtol * max(rates)
        np.testing.assert_allclose(got, rates, rtol=rtol, atol=atol)
        np.testing.assert_allclose(one, rates[17], rtol=rtol, atol=atol)
        np.testing.assert_allclose(cycled, momenta, rtol=rtol)


def assert_optimiser_goes_with_torch(
    name: str, arguments: dict[str, Any], dtype: str
) -> tuple[Any, torch.optim.Optimizer]:
    """The parameters of all steps are PyTorch's; both states come back."""
    sign = -1.0 if arguments.get("maximize") else 1.0
    want, _, optimizer = torch_path(
        lambda params: getattr(torch.optim, name)(params, **arguments),
        dtype=dtype,
        sign=sign,
    )
    got, state = jax_path(
        lambda: getattr(ours, name)(**arguments), dtype=dtype, sign=sign
    )
    assert_same_path(got, want, TOLERANCE[dtype])
    return state, optimizer
