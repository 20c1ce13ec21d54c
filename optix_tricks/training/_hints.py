"""Hints: a student's middle layer learns to say what a teacher's middle layer says."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from optix_tricks._paths import Arrays
from optix_tricks._tree import widen
from optix_tricks.layers import layer_outputs, named_layers
from optix_tricks.training._modes import train_argument
from optix_tricks.training._state import Apply
from optix_tricks.training._step import Mix


class LayerOutput(nnx.Module):
    """A network that ends at one of its layers, with a regressor behind.

        y(x) = r(v(x))

    v is what the layer puts out in a call of the whole model, before what the model does
    to it itself, such as a ReLU. Split by `functional` it trains like any network. Only
    the parameters up to the layer and those of the regressor get a gradient; behind the
    layer it is zero, so that weight decay must be masked there. What lies behind is not
    compiled, but for running statistics, which move too.

    Helps to train, or to read, the lower part of a network by itself. Does little for a
    layer near the output. Cost: the lower part's passes.

    Args:
        model: called as `model(images, train=...)`, or without `train`.
        layer: the layer's path, such as "layer1.conv"; `layers.named_layers` lists them.
        regressor: called on the layer's output, such as a 1x1 convolution or a linear
            layer that brings it to the shape of a hint; None leaves the output as it is.

    Raises:
        ValueError: if the model has no layer of this path.

    Examples:
        >>> class Net(nnx.Module):
        ...     def __init__(self):
        ...         self.hidden = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        ...         self.head = nnx.Linear(3, 10, rngs=nnx.Rngs(1))
        ...
        ...     def __call__(self, x, *, train):
        ...         return self.head(nnx.relu(self.hidden(x)))
        >>> hidden = LayerOutput(Net(), "hidden")
        >>> hidden(jnp.ones((4, 2)), train=False).shape
        (4, 3)

    Source: "FitNets: Hints for Thin Deep Nets", Romero, Ballas, Kahou, Chassang, Gatta
    and Bengio, 2015, section 2.2.
    """

    def __init__(
        self, model: nnx.Module, layer: str, *, regressor: nnx.Module | None = None
    ):
        paths = named_layers(model, lambda path, module: bool(path) and callable(module))
        if layer not in paths:
            raise ValueError(
                f"layer must be a path of the model, got {layer!r}; it has"
                f" {', '.join(paths)}."
            )
        self.model = model
        self.layer = layer
        self.regressor = regressor

    def __call__(self, images: Array, *, train: bool) -> Array:
        """Return r(v(images)), in the dtype of the last module."""
        _, outputs = layer_outputs(
            self.model,
            images,
            only=lambda path, _: path == self.layer,
            **train_argument(self.model, train=train),
        )
        output = outputs[self.layer]
        return output if self.regressor is None else self.regressor(output)


def hint_loss(
    regressed: Float[Array, "batch ..."], hint: Float[Array, "batch ..."]
) -> Float[Array, " batch"]:
    """Return half the squared distance between a student's and a teacher's features.

        loss = ½ ||r(v(x)) - u(x)||²    summed over all features of an example

    v(x) is the output of the student's guided layer, r the regressor and u(x) the
    teacher's hint. The gradient by r is their difference; none flows into the hint.

    Helps nets thinner and deeper than their teacher, which do not train well by
    themselves, as a first stage before distillation: on CIFAR-10 a student of 2.5 M
    parameters reached 91.6 %, its teacher of 9 M 90.2 % (Romero et al.). Does little for
    a student that trains well by itself. Hurts where the guided layer is too high: it
    then takes the student's freedom. Cost: a pass over the features, and the teacher's
    forward pass.

    Beside others: `distillation` is the second stage. Mask weight decay behind the guided
    layer. The teacher sees the augmented images, so that every augmentation works;
    `teacher_labels` takes the place of `mix`, so that `mixup` and `cutmix` are not there
    at the same time.

    Args:
        regressed: the student's features, through the regressor.
        hint: the teacher's.

    Returns:
        One loss per example. Sums grow with the features: where they are many, the
        learning rate must be smaller.

    Raises:
        ValueError: when traced, if the shapes differ or a dtype is not floating.

    Examples:
        >>> print(hint_loss(jnp.array([[1.0, 2.0]]), jnp.array([[4.0, 6.0]])))
        [12.5]

    Source: "FitNets: Hints for Thin Deep Nets", Romero, Ballas, Kahou, Chassang, Gatta
    and Bengio, 2015, equation 3, with the middle layers of both and a convolution for the
    regressor.
    """
    both_floating = all(jnp.issubdtype(x.dtype, jnp.floating) for x in (regressed, hint))
    if regressed.shape != hint.shape or not both_floating:
        raise ValueError(
            "hint must be floating and have the shape of regressed,"
            f" {regressed.dtype}{list(regressed.shape)}, got"
            f" {hint.dtype}{list(hint.shape)}; bring the student's output to it with a"
            " regressor."
        )
    difference = widen(regressed) - widen(jax.lax.stop_gradient(hint))
    return jnp.sum(jnp.square(difference), axis=tuple(range(1, difference.ndim))) / 2


def teacher_labels(
    apply: Apply, params: Arrays, batch_stats: Arrays, *, keep_labels: bool = False
) -> Mix:
    """Return a `mix` of `make_train_step` that replaces labels by a network's outputs.

        labels = f(images; θ)    f in evaluation mode, on the augmented images

    With a teacher's `LayerOutput` the labels are hints, for `hint_loss`: the first stage
    of FitNets. With the teacher itself they are its logits, for distillation: the second.

    Helps where a teacher must see what the student sees, the augmented images. Hurts
    where its outputs could be computed once, before. Cost: a forward pass of the teacher
    a step; its arrays become constants of the compiled step.

    Args:
        apply: the teacher; see `training.functional`.
        params: its parameters.
        batch_stats: its batch statistics.
        keep_labels: give the loss both, as a tuple `(labels, outputs)`.

    Returns:
        `mix(key, images, labels) -> (images, outputs)`. Without the labels the step's
        `accuracy` is how often the largest outputs of both are at the same place.

    Raises:
        ValueError: what `apply` raises.

    Examples:
        The first stage, on the hidden layer of a wider teacher:

        >>> import optax
        >>> from optix_tricks.training import create_state, functional
        >>> from optix_tricks.training import Batch, make_train_step
        >>> class Net(nnx.Module):
        ...     def __init__(self, width):
        ...         self.hidden = nnx.Linear(2, width, rngs=nnx.Rngs(0))
        ...         self.head = nnx.Linear(width, 2, rngs=nnx.Rngs(1))
        ...
        ...     def __call__(self, x, *, train):
        ...         return self.head(nnx.relu(self.hidden(x)))
        >>> teacher, student = Net(6), Net(4)
        >>> hints = teacher_labels(*functional(LayerOutput(teacher, "hidden")))
        >>> regressor = nnx.Linear(4, 6, rngs=nnx.Rngs(2))
        >>> guided = LayerOutput(student, "hidden", regressor=regressor)
        >>> apply, params, stats = functional(guided)
        >>> tx = optax.sgd(0.1)
        >>> step = jax.jit(make_train_step(apply, hint_loss, tx, mix=hints))
        >>> state = create_state(params, stats, tx, jax.random.key(0))
        >>> for _ in range(2):
        ...     state, metrics = step(state, Batch(jnp.eye(2), jnp.arange(2)))

        The second starts from `state.params["model"]`, the student's, with the labels
        and the teacher's logits:

        >>> from optix_tricks.losses import distillation
        >>> apply, _, stats = functional(student)
        >>> logits = teacher_labels(*functional(teacher), keep_labels=True)
        >>> def loss(z, labels):
        ...     return distillation(z, *labels, temperature=4.0, alpha=0.1)
        >>> step = jax.jit(make_train_step(apply, loss, tx, mix=logits))
        >>> state = create_state(state.params["model"], stats, tx, jax.random.key(0))
        >>> state, metrics = step(state, Batch(jnp.eye(2), jnp.arange(2)))

    Source: "FitNets: Hints for Thin Deep Nets", Romero, Ballas, Kahou, Chassang, Gatta
    and Bengio, 2015, section 2.3, algorithm 1.
    """

    def mix(key: Array, images: Array, labels: Any) -> tuple[Array, Any]:
        del key
        outputs, _ = apply(params, batch_stats, images, train=False)
        outputs = jax.lax.stop_gradient(outputs)
        return images, (labels, outputs) if keep_labels else outputs

    return mix
