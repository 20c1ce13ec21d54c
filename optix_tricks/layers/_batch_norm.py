"""Batch normalisation, in float32 throughout."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from optix_tricks._checks import check_count, check_fraction, check_nonnegative
from optix_tricks._tree import wide_dtype
from optix_tricks.layers._moments import moments


class BatchNorm(nnx.BatchNorm):
    """Normalise each feature over the batch, then scale and shift it.

        y = γ (x - μ) / sqrt(σ² + ε) + β

    In training, μ and σ² are the mean and the biased variance of the batch over all axes
    but the last, and the running ones follow, m the momentum:

        mean ← m mean + (1 - m) μ,    var ← m var + (1 - m) σ²

    or, `unbiased`, with n σ² / (n - 1) for the n elements of a feature, as PyTorch has
    it. In evaluation, the running ones stand in their place. All of it is in float32, or
    float64 for float64 inputs, whatever the activations' dtype; only y is rounded.

    It is `nnx.BatchNorm` with two differences. The variance does not cancel: of float32
    activations with a mean of 1000 standard deviations flax's output is off by 4 %, at
    3000 by a factor of hundreds. Of bfloat16 both compute the same, as rounding the
    activations has changed their variance by more by then. And `dtype` is that of the
    output alone: flax rounds γ and β to it, and in evaluation the running statistics
    too. `axis`, `mask`, `use_fast_variance` and `promote_dtype` are left out.

    Under `jit`, on one device or a mesh, the batch is the whole one. Under `pmap` and
    `shard_map` it is the device's own, or with `axis_name` that of all devices on the
    axis.

    Helps nearly every convolutional network trained with batches of 16 examples and more:
    it allows larger learning rates, and the scale of the weights before it changes
    nothing. Hurts with smaller batches, whose statistics are noise, where training and
    evaluation see different data, and in recurrent networks. Cost: one pass for the
    statistics, which of bfloat16 a TPU makes in the convolution before it, and one for y;
    over devices one exchange of two numbers a feature each way, and of float32 one more
    forward. `GhostBatchNorm` of a device's size needs none but for its running
    statistics, which wait for nothing. On a CPU the layer alone takes 0.96 to 1.07 times
    as long as flax's on float32 activations of 8 and more pixels a side, 1.2 times on
    4x4; on accelerators it is not measured yet.

    Beside others: weight decay on the kernel before it sets the effective learning rate;
    leave γ and β out of it with `no_bias_or_norm`. After `swa` or `ema_of_params` gather
    the statistics anew with `refresh_batch_statistics`. Each evaluation of `sam`'s
    gradient sees the batch's statistics.

    From PyTorch: its momentum 0.1 is 0.9 here, and `var = running_var * (n - 1) / n` for
    the n values of a feature in a batch; where they are hundreds a checkpoint's
    statistics may be copied as they are.

    Args:
        num_features: length of the last axis.
        use_running_average: False to train, True to evaluate, None to be told at the
            call; `model.train()` and `model.eval()` set it.
        momentum: m in [0, 1]; PyTorch's momentum is 1 - m.
        epsilon: ε.
        dtype: of y; None promotes those of x, γ and β, to float32 at least.
        param_dtype: of γ and β. The running statistics are float32.
        use_bias: whether there is a β; else 0.
        use_scale: whether there is a γ; else 1.
        bias_init: β at the start.
        scale_init: γ at the start.
        unbiased: whether the running variance follows the unbiased one.
        axis_name: the axis of `pmap` or `shard_map` that splits the batch.
        axis_index_groups: for `pmap`, the groups of devices that share statistics.
        rngs: for the initial γ and β.

    Raises:
        ValueError: if an argument is out of its range; at the call, if x is not
            floating, has another number of features or, in training, no batch, or
            nothing says whether to train.

    Examples:
        >>> norm = BatchNorm(2, momentum=0.9, rngs=nnx.Rngs(0))
        >>> x = jnp.array([[1.0, 30.0], [3.0, 10.0]])
        >>> print(norm(x).round(3))
        [[-1.  1.]
         [ 1. -1.]]
        >>> print(norm.mean[...], norm.var[...])
        [0.2 2. ] [ 1.  10.9]

    Source: "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift", Ioffe and Szegedy, 2015 (`unbiased`).
    """

    def __init__(
        self,
        num_features: int,
        *,
        use_running_average: bool | None = False,
        momentum: int | float = 0.99,
        epsilon: int | float = 1e-5,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: Callable[..., Any] = nnx.initializers.zeros,
        scale_init: Callable[..., Any] = nnx.initializers.ones,
        unbiased: bool = False,
        axis_name: str | None = None,
        axis_index_groups: Sequence[Sequence[int]] | None = None,
        rngs: nnx.Rngs,
    ):
        check_count("num_features", num_features, minimum=1)
        check_fraction("momentum", momentum)
        check_nonnegative("epsilon", epsilon)
        super().__init__(
            num_features,
            use_running_average=use_running_average,
            momentum=momentum,
            epsilon=epsilon,
            dtype=dtype,
            param_dtype=param_dtype,
            use_bias=use_bias,
            use_scale=use_scale,
            bias_init=bias_init,
            scale_init=scale_init,
            axis_name=axis_name,
            axis_index_groups=axis_index_groups,
            rngs=rngs,
        )
        self.unbiased = unbiased

    def __call__(  # type: ignore[override]
        self, x: ArrayLike, use_running_average: bool | None = None
    ) -> Float[Array, "..."]:
        """Return y, of x's shape; in training, move the running statistics.

        Args:
            x: [batch, ..., num_features], floating.
            use_running_average: whether to evaluate; None leaves it to the layer's own.
        """
        if use_running_average is None:
            use_running_average = self.use_running_average
        x = jnp.asarray(x)
        self._check(x, use_running_average)
        params = [p[...] for p in (self.scale, self.bias) if p is not None]
        dtype = self.dtype or jnp.result_type(x, self.mean[...], *params)
        narrow, x = x, x.astype(wide_dtype(x.dtype))
        if use_running_average:
            y = self._normalize(x, *self._running(x))
        else:
            y = self._normalize_by_batch(x, narrow)
        return y.astype(dtype)

    def _normalize_by_batch(self, x: Array, narrow: Array) -> Array:
        mean, var = self._moments(x, narrow)
        self._track(mean, var, self._devices() * x.size // mean.size)
        return self._normalize(x, mean, var)

    def _moments(self, x: Array, narrow: Array) -> tuple[Array, Array]:
        groups = self.axis_index_groups
        return moments(x, narrow, axis_name=self.axis_name, axis_index_groups=groups)

    def _devices(self) -> int:
        """How many share their statistics."""
        if self.axis_name is None:
            return 1
        groups = self.axis_index_groups
        return len(groups[0]) if groups else lax.axis_size(self.axis_name)

    def _track(self, mean: Array, var: Array, count: int) -> None:
        m, var = self.momentum, self._running_kind(var, count)
        self._assign(self.mean, m * self.mean[...] + (1 - m) * mean.ravel())
        self._assign(self.var, m * self.var[...] + (1 - m) * var.ravel())

    def _running_kind(self, var: Array, count: int) -> Array:
        """The variance of `count` elements as the running one takes it in."""
        return var * (count / max(count - 1, 1)) if self.unbiased else var

    def _assign(self, statistic: nnx.BatchStat, value: Array) -> None:
        statistic[...] = lax.stop_gradient(value).astype(jnp.float32)

    def _running(self, x: Array) -> tuple[Array, Array]:
        """Running mean and variance, laid out as x."""
        shape = (1,) * (x.ndim - 1) + (-1,)
        return self.mean[...].reshape(shape), self.var[...].reshape(shape)

    def _normalize(
        self, x: Array, mean: Array, var: Array, r: ArrayLike = 1.0, d: ArrayLike = 0.0
    ) -> Array:
        """γ ((x - mean) / sqrt(var + ε) r + d) + β."""
        shape = (1,) * (x.ndim - 1) + (-1,)
        scale, bias = (jnp.reshape(a, shape) for a in (self._scale(), self._bias()))
        slope = lax.rsqrt(var + self.epsilon) * scale * r
        return (x - mean) * slope + (bias + scale * d)

    def _scale(self) -> ArrayLike:
        return 1.0 if self.scale is None else self.scale[...]

    def _bias(self) -> ArrayLike:
        return 0.0 if self.bias is None else self.bias[...]

    def _check(self, x: Array, use_running_average: bool | None) -> None:
        if use_running_average is None:
            raise ValueError(
                "use_running_average must be given to the layer or to its call: True to"
                " evaluate, False to train; got None."
            )
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                f"x must be floating, got {x.dtype}{list(x.shape)}; convert it first."
            )
        if x.ndim == 0 or x.shape[-1] != self.num_features:
            raise ValueError(
                f"x must have num_features={self.num_features} features on its last axis,"
                f" got shape {list(x.shape)}."
            )
        if not use_running_average and (x.ndim == 1 or x.size == 0):
            raise ValueError(
                f"x must have a batch of examples in training, got shape {list(x.shape)};"
                " under vmap over the batch there is none."
            )
