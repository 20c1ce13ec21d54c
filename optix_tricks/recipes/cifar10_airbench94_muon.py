"""airbench94 with Muon: CIFAR-10 to 94 % in eight epochs.

The network and the images of airbench94. The kernels of convolutions take steps of unit
singular values from unit norm; biases and the head take those of momentum SGD.

    optix-tricks train cifar10_airbench94_muon              # 1.97 M parameters
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from optix_tricks.recipes._airbench import groups, make_airbench_job, whitening_steps
from optix_tricks.recipes._airbench_network import uniform_fan_in
from optix_tricks.recipes._contract import Claim
from optix_tricks.schedules import linear_schedule
from optix_tricks.training import Dataset, Job, total_steps

CLAIM = Claim(
    result="not yet measured at full width",
    source="Jordan, airbench94_muon, 2024 (94.01 %, n = 200)",
    cost="not yet measured",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the airbench94 recipe with Muon."""

    dataset: str = "cifar10"
    """a TFDS data set, a .npz of arrays, or generated"""
    data_dir: str | None = None
    """where TFDS looks; its own default if not given"""
    width: int = 64
    """channels of the first group; the others have four times as many"""
    epochs: int | float = 8.0
    batch_size: int = 2000
    learning_rate: float = 0.24
    """of kernels of convolutions, at first; all rates fall in a line to zero"""
    bias_learning_rate: float = 0.053
    """of biases, for sums over the batch"""
    head_learning_rate: float = 0.67
    """of the last layer, for sums over the batch"""
    momentum: float = 0.6
    """of kernels of convolutions"""
    sgd_momentum: float = 0.85
    """of biases and the last layer"""
    ns_steps: int = 3
    """of Newton and Schulz"""
    weight_decay: float = 2e-6
    """of biases and the last layer, a step and example, whatever the rate"""
    label_smoothing: float = 0.2
    whitening_bias_epochs: int = 3
    """in which the rate of the first convolution's bias falls to zero"""
    padding: int = 2
    """pixels of reflected border before the crop"""
    flip: bool = True
    """mirror in every other epoch, and test on mirror images and shifted ones too"""
    cutout: int = 0
    """side of the square that is blanked out; 0 for none"""
    compute_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """of activations and of Newton and Schulz; parameters stay float32"""
    seed: int = 0


def make_optimizer(
    config: Config, steps: int, *, learning_rate: optax.Schedule | None = None
) -> optax.GradientTransformation:
    """Return the recipe's chain; another schedule moves all rates in proportion.

    The source's gradients are sums over the batch; here they are means.
    """

    def line(ends: int) -> optax.Schedule:
        """From one to zero, or in proportion to the schedule that was given."""
        if learning_rate is None:
            return linear_schedule(1.0, 0.0, max(ends, 1))
        return lambda count: learning_rate(count) / config.learning_rate

    def scaled(peak: float, ends: int = steps) -> optax.Schedule:
        share = line(ends)
        return lambda count: peak * share(count)

    def sgd(peak: float, ends: int = steps) -> optax.GradientTransformation:
        return optax.chain(
            ot.add_decayed_weights(config.weight_decay / peak),
            ot.sgd(
                scaled(config.batch_size * peak, ends),
                momentum=config.sgd_momentum,
                nesterov=True,
            ),
        )

    muon = optax.chain(
        ot.trace(config.momentum, nesterov=True),
        ot.scale_by_newton_schulz(
            ns_steps=config.ns_steps, compute_dtype=jnp.dtype(config.compute_dtype)
        ),
        ot.scale_by_learning_rate(scaled(config.learning_rate)),
        ot.normalize_weights(),
    )
    return optax.partition(
        {
            "filters": muon,
            "norms": sgd(config.bias_learning_rate),
            "head": sgd(config.head_learning_rate),
            "whitening": sgd(config.bias_learning_rate, whitening_steps(config, steps)),
            "frozen": optax.set_to_zero(),
        },
        groups,
    )


def build(config: Config, dataset: Dataset) -> Job:
    """Make the network, the augmentation and the optimiser for a data set."""
    steps = total_steps(config.epochs, dataset.train.size, config.batch_size)
    return make_airbench_job(
        config,
        dataset,
        make_optimizer(config, steps),
        lookahead=False,
        widths=(config.width, 4 * config.width, 4 * config.width),
        whitening_bias_init=bias_init,
        head_init=unit_deviation,
        logit_scale=1 / (4 * config.width),
    )


def unit_deviation(key: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Draw a uniform kernel and divide it by its standard deviation."""
    kernel = uniform_fan_in(key, shape, dtype)
    return kernel / jnp.std(kernel, ddof=1)


def bias_init(key: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """PyTorch's default, within 1 / sqrt(fan in), which is half the filters here."""
    bound = (shape[0] / 2) ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)
