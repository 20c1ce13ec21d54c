"""A network of one split array and batch normalisation, and jobs that it trains in."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import optix_tricks as ot
from optix_tricks.augment import mixup
from optix_tricks.layers import BatchNorm
from optix_tricks.losses import cross_entropy, supervised_contrastive_loss
from optix_tricks.training import Job, functional, refresh_batch_statistics
from tests.training.toy_runs import toy_dataset


class Wide(nnx.Module):
    """8 × 8 × 3 pixels to 64 features to 3 classes."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.dense = nnx.Linear(192, 64, use_bias=False, rngs=rngs)
        self.norm = BatchNorm(64, momentum=0.9, rngs=rngs)
        self.head = nnx.Linear(64, 3, rngs=rngs)

    def __call__(self, images, *, train):
        x = self.dense(images.reshape(len(images), -1) / 255)
        return self.head(jnp.tanh(self.norm(x, use_running_average=not train)))


APPLY, PARAMS, STATS = functional(Wide(), preprocess=lambda x: x)  # which scales them


def mix(key, images, labels):
    mixed = mixup(key, images.astype(jnp.float32), labels, alpha=0.4)
    return mixed.images, mixed.dense(3)


def large_batches():
    """Clipping in both ways, the layer-wise rate, and an average beside the weights."""
    return optax.chain(
        ot.clip_by_global_norm(0.5),
        ot.adaptive_grad_clip(0.1),
        ot.lars(0.5, weight_decay=1e-3, trust_coefficient=0.02),
        ot.ema_of_params(0.9),
    )


TRICKS = {
    "lars": {"tx": large_batches(), "mix": mix},
    "lamb": {
        "tx": ot.accumulate(ot.lamb(0.01, weight_decay=0.01), 2),
        "loss": supervised_contrastive_loss,
    },
    "sam": {"tx": ot.sam(ot.sgd(0.1, momentum=0.9), 0.05)},
    "swa": {"tx": optax.chain(ot.sgd(0.05, momentum=0.9), ot.swa(8, 2))},
}


def averaged(state):
    """Of the average, with statistics of its own."""
    params = ot.averaged_params(state.opt_state, state.params)
    batches = [jnp.asarray(toy_dataset().train.inputs[:48])]
    stats = refresh_batch_statistics(APPLY, params, state.batch_stats, batches)
    return state._replace(params=params, batch_stats=stats)


def wide_job(**changes):
    job = Job(
        apply=APPLY,
        params=jax.tree.map(jnp.copy, PARAMS),
        batch_stats=jax.tree.map(jnp.copy, STATS),
        loss=cross_entropy,
        tx=large_batches(),
        augment=None,
        epochs=2,
        batch_size=16,
        seed=0,
        test_loss=cross_entropy,
        mix=mix,
        tested=averaged,
    )
    return job._replace(**changes)


def calm_job(**changes):
    """In which a rounding stays as small as it is."""
    tx = ot.sgd(0.02, momentum=0.9)
    return wide_job(tx=tx, mix=None, tested=lambda state: state)._replace(**changes)


def numbers(rows):
    """What was measured, row by row, but for the time."""
    kept = [
        {k: x for k, x in row.items() if k not in ("kind", "seconds")} for row in rows
    ]
    return [np.array([row[k] for k in sorted(row)], float) for row in kept]
