"""What a layer learns from a teacher's before the first epoch."""

import functools
from typing import Any

import jax
from flax import nnx

import optix_tricks as ot
from optix_tricks._packed import unpacked
from optix_tricks._tree import PyTree
from optix_tricks.training import (
    Apply,
    Batch,
    Begin,
    LayerOutput,
    TrainState,
    create_state,
    functional,
    hint_loss,
    make_train_step,
    teacher_labels,
    total_steps,
)
from optix_tricks.tricks._context import Context, named_key
from optix_tricks.tricks._pretraining import OnStep, trained
from optix_tricks.tricks._trick import Level, trick


def _hinted(
    context: Context,
    hints: tuple[Apply, PyTree, PyTree],
    state: TrainState,
    data: Batch,
    on_step: OnStep,
    *,
    run: str = "",
    layer: str = "",
    teacher_layer: str = "",
    epochs: int | float = 1,
    adam_rate: float = 1e-3,
) -> TrainState:
    """Train the network up to a layer with Adam to say what the teacher's layer says.

    A linear regressor brings its features to as many as the teacher's has; it is then
    thrown away. What lies behind the layer stays as it is.

    Args:
      context: of the run.
      hints: the teacher up to its layer.
      state: whose parameters are trained.
      data: of training.
      on_step: is told the steps that are done, and all.
      run: the teacher's directory.
      layer: the path of the network's.
      teacher_layer: the path of the teacher's.
      epochs: of this training.
      adam_rate: the learning rate of Adam.
    """
    del run, teacher_layer
    model = context.network.module(0)
    nnx.update(model, unpacked(state.params), state.batch_stats)
    key = named_key(state.key, "hints")
    sizes = [_shape(split, data)[-1] for split in (_guided(model, layer, context), hints)]
    regressor = nnx.Linear(*sizes, rngs=nnx.Rngs(key))
    apply, params, batch_stats = _guided(model, layer, context, regressor=regressor)
    tx = ot.adam(adam_rate)
    step = make_train_step(apply, hint_loss, tx, mix=teacher_labels(*hints), metrics={})
    steps = total_steps(epochs, data.size, context.batch_size)
    learnt = trained(
        step,
        create_state(params, batch_stats, tx, jax.random.fold_in(key, 1)),
        data,
        epochs=epochs,
        batch_size=context.batch_size,
        on_step=lambda done: on_step(done, steps),
    )
    for tree in learnt:
        nnx.update(model, tree.get("model", {}))
    _, params, batch_stats = functional(model)
    return state._replace(params=params, batch_stats=batch_stats)


def _guided(
    model: nnx.Module, layer: str, context: Context, **options: Any
) -> tuple[Apply, PyTree, PyTree]:
    guided = LayerOutput(model, layer, **options)
    return functional(guided, preprocess=context.prepare)


def _shape(split: tuple[Apply, PyTree, PyTree], data: Any) -> tuple[int, ...]:
    """Of a network's output, without the axis of the batch."""
    apply, params, batch_stats = split
    evaluate = functools.partial(apply, train=False)
    output, _ = jax.eval_shape(evaluate, params, batch_stats, data.inputs)
    return output.shape[1:]


@trick("begin", calls=_hinted, about=hint_loss, main="run", level=Level.MODULE)
def hints(context: Context, call: Any) -> Begin:
    """A layer first learns what a layer of an earlier run's network says."""
    run, layer, teacher_layer = (
        call.keywords[name] for name in ("run", "layer", "teacher_layer")
    )
    if not run:
        raise ValueError(
            "hints needs the run of a teacher: --with hints=runs/TEACHER, and of both the"
            " name of a layer, --hints.layer and --hints.teacher-layer."
        )
    teacher = context.restore(run)
    hint = LayerOutput(teacher.module, teacher_layer)
    split = functional(hint, preprocess=teacher.prepare)
    student = _guided(context.network.module(0), layer, context)
    own, wanted = (_shape(each, context.first(1)) for each in (student, split))
    if own[:-1] != wanted[:-1]:
        raise ValueError(
            f"hints needs layers of one size but for their features, got {layer!r} with"
            f" {list(own)} and the teacher's {teacher_layer!r} with {list(wanted)}."
        )
    return functools.partial(call, context, split)
