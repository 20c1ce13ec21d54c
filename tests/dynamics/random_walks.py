"""Scale-invariant layers as random walks: gradients are noise orthogonal to w."""

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks.dynamics import corrected_equilibrium, equilibrium_norm

SIZE, WALKS, STEPS = 128, 8, 2000
RATE, DECAY = 0.2, 2e-3
SCALE = math.sqrt(SIZE - 1)  # |g||w|: the noise without its part along w


@cache
def white_noise():
    draw = np.random.default_rng(0).standard_normal
    return draw((STEPS, WALKS, SIZE)), draw((WALKS, SIZE))


def correlated(new, before, phi, theta):
    """AR(1) of coefficient phi, or MA(1) of coefficient theta, of unit variance."""
    series, last = before
    series = phi * series + jnp.sqrt(1 - phi**2) * new
    moving = (new + theta * last) / jnp.sqrt(1 + theta**2)
    return jnp.where(theta == 0, series, moving), (series, new)


def rule(kind, g, w, slots, t, lr, wd, r, b2):
    """The update and new slots, as the papers write them."""
    v, nu = slots
    if kind in ("sgd", "heavy_ball", "nesterov"):
        h = g + wd * w
        v = r * v + h
        return -lr * (h + r * v if kind == "nesterov" else v), (v, nu)
    if kind == "sgdw":
        v = r * v + g
        return -lr * (v + wd * w), (v, nu)
    if kind == "adamw":
        v, nu = r * v + (1 - r) * g, b2 * nu + (1 - b2) * g * g
        mean, square = v / (1 - r ** (t + 1.0)), nu / (1 - b2 ** (t + 1.0))
        return -lr * (mean / (jnp.sqrt(square) + 1e-12) + wd * w), (v, nu)
    sign = jnp.sign(r * v + (1 - r) * g)
    return -lr * (sign + wd * w), (b2 * v + (1 - b2) * g, nu)


@partial(jax.jit, static_argnames="kind")
def _walk(noise, direction, setting, *, kind):
    lr, wd, r, phi, theta, start = setting

    def step(carry, inputs):
        t, new = inputs
        w, slots, trace, before = carry
        raw, before = correlated(new, before, phi, theta)
        square = jnp.sum(w * w, axis=1, keepdims=True)
        along = jnp.sum(raw * w, axis=1, keepdims=True) / square
        g = (raw - along * w) / jnp.sqrt(square)
        update, slots = rule(kind, g, w, slots, t, lr, wd, r, 0.99)
        pairs = ((w, w), (g, g), (update, update), (g, trace))
        row = jnp.stack([jnp.sum(x * y, axis=1) for x, y in pairs])
        return (w + update, slots, r * trace + g, before), row

    w = start * direction / jnp.linalg.norm(direction, axis=1, keepdims=True)
    zero = jnp.zeros_like(w)
    first = (w, (zero, zero), zero, (zero, zero))
    return jax.lax.scan(step, first, (jnp.arange(STEPS), noise))[1]


def walk(kind, lr, wd, r, *, start, phi=0.0, theta=0.0):
    """|w|², |g|², |Δw|² and g_t·v_{t-1}: [steps, 4, walks], in float64."""
    with jax.enable_x64(True):
        noise, direction = map(jnp.asarray, white_noise())
        setting = jnp.array([lr, wd, r, phi, theta, float(start)])
        return np.asarray(_walk(noise, direction, setting, kind=kind))


def settled(kind, momentum, *, rate=RATE, decay=DECAY, s=0.0, **noise):
    """Means over the second half of walks that start at the predicted norm."""
    options = {"learning_rate": rate, "weight_decay": decay, "momentum": momentum}
    if kind in ("adamw", "lion"):
        norm = equilibrium_norm(kind, size=SIZE, **options)
    else:
        found = corrected_equilibrium(kind, autocorrelation=s, **options)
        norm = math.sqrt(rate * SCALE / found.relative_update)
    rows = walk(kind, rate, decay, momentum, start=norm, **noise)
    return rows[STEPS // 2 :].mean((0, 2)), options
