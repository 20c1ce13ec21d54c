"""Precision as a value: which dtype parameters, activations and logits have."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

import optix_tricks as ot


class Policy(NamedTuple):
    """The dtypes of a network and of its optimiser.

    Losses, normalisation, batch statistics and the optimiser's state are float32 under
    every policy; the policy says what is multiplied (`compute`), what is stored (`param`)
    and what leaves (`output`). See `policy` for the usual ones.

    Attributes:
      param: dtype of the stored kernels; the scales and biases of norms stay float32.
      compute: dtype of activations, and of the kernels as they are multiplied.
      output: dtype of the logits.
    """

    param: Any = jnp.dtype("float32")
    compute: Any = jnp.dtype("float32")
    output: Any = jnp.dtype("float32")

    @property
    def of_network(self) -> dict[str, Any]:
        """The arguments `dtype` and `param_dtype` of a network of `training`."""
        return {"dtype": self.compute, "param_dtype": self.param}

    def optimizer(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """Wrap an optimiser in what these dtypes need.

        float16 activations or kernels get a dynamic loss scale, without which gradients
        below 6e-8 vanish; 16-bit parameters get float32 masters, without which steps
        below half a unit in the last place do.
        """
        if jnp.float16 in (self.compute, self.param):
            tx = ot.dynamic_loss_scale(tx)
        if jnp.finfo(self.param).bits == 16:
            tx = ot.master_weights(tx)
        return tx


def policy(name: str) -> Policy:
    """Return the usual policy of a name.

        float32     everything in float32
        bfloat16    bfloat16 activations, float32 parameters and logits
        float16     the same in float16, with a dynamic loss scale

    bfloat16 has the range of float32 and needs no care. float16 has eight times its
    precision and ends at 65,504 above and 6e-8 below. On accelerators both double the
    rate of convolutions and halve the memory of activations.

    Helps on accelerators, whose matrix units are made for 16 bits; bfloat16 first. Does
    little on CPUs, whose convolutions are computed in float32 all the same. Hurts, in
    float16, whatever passes 65,504: sums over large images, nets without norms. Cost: on
    accelerators half the memory of activations and up to twice the rate of convolutions;
    float16 adds a pass over the gradients. On CPUs casts only.

    Beside others: `sam` differentiates twice, and its second gradients may overflow too:
    `dynamic_loss_scale(sam(skip_nonfinite(inner)))`. Clip and accumulate inside the loss
    scale, not outside. Losses take 16-bit logits and compute in float32.

    Args:
      name: "float32", "bfloat16" or "float16".

    Returns:
      A `Policy`; its `_replace(param=jnp.bfloat16)` stores kernels in 16 bits too.

    Raises:
      ValueError: if the name is another.

    Examples:
      >>> from flax import nnx
      >>> from optix_tricks.training import ResNet9
      >>> half = policy("float16")
      >>> model = ResNet9(10, width=4, **half.of_network, rngs=nnx.Rngs(0))
      >>> tx = half.optimizer(ot.sgd(0.1))
      >>> params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
      >>> print(params["head"]["kernel"].dtype, ot.loss_scale(tx.init(params)))
      float32 32768.0

    Source: "Mixed Precision Training", Micikevicius et al., 2018.
    """
    if name not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"name must be float32, bfloat16 or float16, got {name!r}.")
    return Policy(compute=jnp.dtype(name))
