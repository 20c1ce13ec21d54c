"""airbench's optimiser steps in PyTorch, as pure functions of dicts of tensors.

The equations' source and the names of the tensors are in airbench_reference.py. The
original has Newton-Schulz in bfloat16; here it has the dtype of the gradient.
"""

from typing import NamedTuple

import pytest

from tests.recipes.airbench_reference import Tensors, gradients, trained

torch = pytest.importorskip("torch")

MOMENTUM = 0.85  # SGD's, with Nesterov
BIAS_SCALER = 64.0
MUON_MOMENTUM = 0.6
MUON_BIAS_LR, MUON_HEAD_LR = 0.053, 0.67
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
WHITEN_EPOCHS = 3  # in which the whitening bias is trained
LOOKAHEAD_EVERY = 5


class State(NamedTuple):
    params: Tensors
    stats: Tensors
    velocity: Tensors
    slow: Tensors  # lookahead's copy of params and stats


def schedule(step, recipe, total):
    """The factor on all rates at `step`, counted from 0, but Muon's whitening bias."""
    knee = int(total * recipe.warm)
    if step < knee:
        return recipe.first + (1 - recipe.first) * step / knee
    return 1 - (1 - recipe.last) * (step - knee) / (total - knee)


def rates(names, step, recipe, *, total, whiten_steps):
    """By name the rate at `step` and the coefficient of coupled weight decay."""
    found = {}
    for name in names:
        factor, decay = schedule(step, recipe, total), recipe.decay
        if recipe.muon:
            if name.startswith("whiten"):
                factor = 1 - step / whiten_steps
            lr = MUON_BIAS_LR if name.endswith("bias") else MUON_HEAD_LR
            if "conv" in name:
                lr, decay = recipe.lr, 0.0
        else:
            kilostep = 1024 * (1 + 1 / (1 - MOMENTUM))
            lr, decay = recipe.lr / kilostep, decay * recipe.batch / kilostep
            if "norm" in name:
                lr *= BIAS_SCALER
        found[name] = lr * factor, decay / lr
    return found


def sgd_step(params, velocity, grads, rates):
    """Nesterov with coupled decay. What has no gradient stays, and its velocity too."""
    params, velocity = dict(params), dict(velocity)
    for name, gradient in grads.items():
        lr, decay = rates[name]
        gradient = gradient + decay * params[name]
        velocity[name] = MOMENTUM * velocity[name] + gradient
        params[name] = params[name] - lr * (gradient + MOMENTUM * velocity[name])
    return params, velocity


def newton_schulz(matrix, *, steps=3):
    """Singular values to near 1, by an odd polynomial of the scaled matrix."""
    a, b, c = NEWTON_SCHULZ
    x = matrix / (matrix.norm() + 1e-7)
    wide = x if x.shape[0] <= x.shape[1] else x.T
    for _ in range(steps):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.T


def muon_step(params, velocity, grads, rates):
    """Kernels are scaled to norm sqrt(out), then take an orthogonalised Nesterov step."""
    params, velocity = dict(params), dict(velocity)
    for name, gradient in grads.items():
        velocity[name] = MUON_MOMENTUM * velocity[name] + gradient
        nesterov = gradient + MUON_MOMENTUM * velocity[name]
        update = newton_schulz(nesterov.flatten(1)).reshape(gradient.shape)
        kernel = params[name] * len(gradient) ** 0.5 / params[name].norm()
        params[name] = kernel - rates[name][0] * update
    return params, velocity


def lookahead_decay(done, total):
    """The slow copy's share in itself after `done` steps."""
    return 0.95**5 * (done / total) ** 3


def lookahead(slow, fast, decay):
    return {name: decay * slow[name] + (1 - decay) * fast[name] for name in slow}


def start(params, stats):
    """The state before step 0."""
    zeros = {name: torch.zeros_like(params[name]) for name in trained(params)}
    return State(params, stats, zeros, params | stats)


def train_step(state, images, labels, step, recipe, *, total=None, whiten_steps=None):
    """Step `step` of `total`, counted from 0: the loss before it, the state after it.

    With SGD the last step ends on the slow copy, so that the steps since the last
    lookahead are lost. The originals copy it before they whiten: a share of 1e-6 or less
    of an unwhitened kernel that is left out here.
    """
    total = recipe.total if total is None else total
    if whiten_steps is None:
        whiten_steps = WHITEN_EPOCHS * recipe.steps_per_epoch
    params, stats, velocity, slow = state
    value, grads, stats = gradients(
        params, stats, images, labels, recipe=recipe, whiten_bias=step < whiten_steps
    )
    now = rates(grads, step, recipe, total=total, whiten_steps=whiten_steps)
    kernels = {n: grads.pop(n) for n in list(grads) if recipe.muon and "conv" in n}
    params, velocity = sgd_step(params, velocity, grads, now)
    params, velocity = muon_step(params, velocity, kernels, now)
    done = step + 1
    if recipe.muon:
        return value, State(params, stats, velocity, slow)
    if done % LOOKAHEAD_EVERY == 0:
        slow = lookahead(slow, params | stats, lookahead_decay(done, total))
    if done % LOOKAHEAD_EVERY == 0 or done == total:
        params = {name: slow[name] for name in params}
        stats = {name: slow[name] for name in stats}
    return value, State(params, stats, velocity, slow)
