"""Network and optimisers of airbench: CIFAR-10 in seconds, by groups of parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import optix_tricks as ot
from optix_tricks._checks import check_count
from optix_tricks._paths import map_named
from optix_tricks._tree import PyTree, safe_divide
from optix_tricks.schedules import linear_schedule
from optix_tricks.training import Airbench
from optix_tricks.training._airbench import uniform_fan_in
from optix_tricks.tricks._context import Context
from optix_tricks.tricks._network import classifier
from optix_tricks.tricks._optimizers import optimizer
from optix_tricks.tricks._trick import trick

LEAST = 16  # pixels, for three poolings


@ot.per_buffer
def groups(params: PyTree) -> PyTree:
    """Return the group of each parameter: frozen, whitening, norms, head or filters."""

    def group(leaf: Any) -> str:
        if leaf.name.startswith("whitening/"):
            return "frozen" if leaf.value.ndim > 1 else "whitening"
        if "norm" in leaf.name or leaf.value.ndim < 2:
            return "norms"
        return "head" if leaf.name.startswith("head") else "filters"

    return map_named(group, params)


def _network(
    *,
    width: int = 64,
    multiples: tuple[int, int, int] = (1, 4, 4),
    convs: int = 2,
    norm_momentum: float = 0.6,
    unit_head: bool = False,
) -> Any:
    """Return the function that makes `Airbench`.

    Args:
      width: channels of the first group, which `multiples` is of.
      multiples: of the three groups.
      convs: of a group, two or three.
      norm_momentum: of the running statistics.
      unit_head: start the head at deviation 1 and divide the logits by its inputs, and
        start the first bias as PyTorch does, as for Muon.
    """
    check_count("width", width, minimum=1)
    widths = [width * multiple for multiple in multiples]
    start = {
        "head_init": unit_deviation,
        "logit_scale": 1 / widths[-1],
        "whitening_bias_init": of_half_the_filters,
    }
    return classifier(
        Airbench,
        widths=widths,
        convs=convs,
        norm_momentum=norm_momentum,
        **(start if unit_head else {}),
    )


@trick(
    "network", calls=_network, about=Airbench, main="width", needs=["images", "classes"]
)
def airbench(context: Context, call: Any) -> Any:
    """Plain convolutions of small patches, then of three groups."""
    height, width, _ = context.dataset.image_shape
    if min(height, width) < LEAST:
        raise ValueError(
            f"airbench needs images of at least {LEAST}x{LEAST} pixels, those of"
            f" {context.dataset.name!r} have {height}x{width}."
        )
    return call()


def unit_deviation(key: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Draw a uniform kernel and divide it by its standard deviation."""
    kernel = uniform_fan_in(key, shape, dtype)
    return kernel / jnp.std(kernel, ddof=1)


def of_half_the_filters(key: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """PyTorch's default, within 1 / sqrt(fan in), which is half the filters here."""
    bound = (shape[0] / 2) ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def _sgd(
    learning_rate: optax.Schedule,
    context: Context,
    *,
    momentum: float = 0.85,
    weight_decay: float = 0.0153,
    bias_scale: float = 64.0,
) -> optax.GradientTransformation:
    r"""Nesterov momentum whose numbers do not depend on each other.

    .. math::
        w \leftarrow w - \eta' \, \mathrm{nesterov}(g + \lambda' w), \qquad
        \eta' = \frac{N}{1024} \, \eta \, / \, (1 + 1 / (1 - \rho)), \qquad
        \lambda' = \lambda / \eta_{\max}

    for batches of N and the momentum :math:`\rho`; biases of norms have `bias_scale`
    times the rate and the same decay a step.

    Helps to tune rate, momentum, decay and batch one by one. Hurts nothing else: at one
    set of numbers it is `sgd` with groups. Cost: one slot.

    Beside others: decay is in it, so no `l2` with it; rates of groups are in it too.

    The source divides rates by 1 + 1 / (1 - momentum), for sums over the batch; here they
    are means.

    Args:
      learning_rate: for 1024 examples, whatever the momentum.
      context: of the run.
      momentum: as in `optix_tricks.sgd`.
      weight_decay: of a step at the peak, in the unit of the rate and whatever the rate.
      bias_scale: by which the biases of norms learn faster, and decay no faster.

    Source: Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024.
    """
    per_gradient = context.batch_size / 1024 / (1 + 1 / (1 - momentum))
    decay = safe_divide(weight_decay, context.peak)
    return optax.chain(
        ot.add_decayed_weights(decay, mask=_is("rest")),
        ot.add_decayed_weights(decay / bias_scale, mask=_is("norms")),
        ot.sgd(
            lambda count: per_gradient * learning_rate(count),
            momentum=momentum,
            nesterov=True,
        ),
        ot.scale_by_group({"norms": bias_scale, "rest": 1.0}, _norms_and_rest),
    )


def _norms_and_rest(params: PyTree) -> PyTree:
    return map_named(lambda x: "norms" if "norm" in x.name else "rest", params)


def _is(group: str) -> Any:
    return lambda params: jax.tree.map(lambda x: x == group, _norms_and_rest(params))


def _muon(
    learning_rate: optax.Schedule,
    context: Context,
    *,
    bias_learning_rate: float = 0.053,
    head_learning_rate: float = 0.67,
    momentum: float = 0.6,
    sgd_momentum: float = 0.85,
    ns_steps: int = 3,
    weight_decay: float = 2e-6,
    whitening_bias_epochs: int = 3,
    compute_dtype: str = "float32",
) -> optax.GradientTransformation:
    r"""Muon for the kernels of convolutions, momentum for biases and the head.

    .. math::
        v \leftarrow \rho v + g, \qquad
        w \leftarrow \mathrm{normalized}(w - \eta \, \mathrm{NS}(g + \rho v))

    for those kernels, NS being `scale_by_newton_schulz`, and `normalize_weights` after
    each step.

    Helps airbench to the same accuracy in fewer epochs than `airbench_sgd`. Hurts other
    networks, whose parameters its groups do not know: take `muon`. Cost: one slot, and a
    few products of matrices a kernel.

    Beside others: decay is in it, so no `l2` with it. The head wants `airbench` with
    `unit_head`.

    The source's gradients are sums over the batch; here they are means.

    Args:
      learning_rate: of kernels of convolutions; the other rates move in proportion.
      context: of the run.
      bias_learning_rate: of biases, for sums over the batch.
      head_learning_rate: of the last layer, likewise.
      momentum: of kernels of convolutions.
      sgd_momentum: of biases and the last layer.
      ns_steps: of Newton and Schulz.
      weight_decay: of biases and the last layer, a step and example, whatever the rate.
      whitening_bias_epochs: in which the rate of the first bias falls to zero.
      compute_dtype: of Newton and Schulz.

    Source: Jordan et al., Muon, 2024; Jordan, CIFAR-10 Airbench, 2024.
    """

    def share(count: Any) -> Any:
        return learning_rate(count) / context.peak

    def sgd(peak: float, share: optax.Schedule) -> optax.GradientTransformation:
        return optax.chain(
            ot.add_decayed_weights(weight_decay / peak),
            ot.sgd(
                lambda count: context.batch_size * peak * share(count),
                momentum=sgd_momentum,
                nesterov=True,
            ),
        )

    first = max(whitening_bias_epochs * context.steps_per_epoch, 1)
    kernels = optax.chain(
        ot.trace(momentum, nesterov=True),
        ot.scale_by_newton_schulz(
            ns_steps=ns_steps, compute_dtype=jnp.dtype(compute_dtype)
        ),
        ot.scale_by_learning_rate(learning_rate),
        ot.normalize_weights(),
    )
    return optax.partition(
        {
            "filters": kernels,
            "norms": sgd(bias_learning_rate, share),
            "head": sgd(head_learning_rate, share),
            "whitening": sgd(bias_learning_rate, linear_schedule(1.0, 0.0, first)),
            "frozen": optax.set_to_zero(),
        },
        groups,
    )


def in_context(context: Context, call: Any) -> Any:
    """Let an optimiser know the run."""
    return lambda learning_rate: call(learning_rate, context)


airbench_sgd = optimizer(_sgd, "airbench_sgd", learning_rate=11.5, make=in_context)
airbench_muon = optimizer(_muon, "airbench_muon", learning_rate=0.24, make=in_context)
