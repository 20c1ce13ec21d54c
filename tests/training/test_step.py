"""The step: against NumPy in float64, and the same on one device and on eight."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optix_tricks as ot
from optix_tricks.augment import alternating_flip, random_flip
from optix_tricks.losses import cross_entropy
from optix_tricks.training import (
    Batch,
    TrainState,
    compile_step,
    compile_step_on_devices,
    compile_step_on_mesh,
    create_state,
    functional,
    make_evaluate,
    make_train_step,
    normalize,
    step_keys,
)
from optix_tricks.training import _resnet as resnet


class Linear(nnx.Module):
    """Softmax regression, whose step can be written down."""

    def __init__(self, rngs):
        self.head = nnx.Linear(12, 3, rngs=rngs)

    def __call__(self, images, *, train):
        return self.head(images.reshape(len(images), -1))


def batches(n, size=16, shape=(2, 2, 3), classes=3):
    for i in range(n):
        rng = np.random.default_rng(i)
        yield Batch(
            jnp.asarray(rng.normal(size=(size, *shape)), jnp.float32),
            jnp.asarray(rng.integers(0, classes, size)),
        )


def test_three_steps_equal_softmax_regression_in_numpy():
    apply, params, stats = functional(Linear(nnx.Rngs(0)))
    w = np.asarray(params["head"]["kernel"], np.float64)
    b = np.asarray(params["head"]["bias"], np.float64)
    tx = optax.chain(
        ot.add_decayed_weights(0.1, mask=ot.no_bias_or_norm), ot.sgd(0.5, momentum=0.9)
    )
    step = compile_step(make_train_step(apply, cross_entropy, tx))
    state = create_state(params, stats, tx, jax.random.key(0))
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    for batch in batches(3):
        x = np.asarray(batch.inputs, np.float64).reshape(16, 12)
        z = x @ w + b
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        y = np.eye(3)[np.asarray(batch.targets)]
        gw, gb = x.T @ (p - y) / 16, (p - y).mean(axis=0)
        vw, vb = 0.9 * vw + gw + 0.1 * w, 0.9 * vb + gb
        norms = [
            np.sqrt((gw**2).sum() + (gb**2).sum()),
            0.5 * np.sqrt((vw**2).sum() + (vb**2).sum()),
            np.sqrt((w**2).sum() + (b**2).sum()),
        ]
        w, b = w - 0.5 * vw, b - 0.5 * vb
        state, metrics = step(state, batch)
        assert metrics["loss"] == pytest.approx(-np.log(p[y == 1]).mean(), rel=1e-5)
        assert metrics["accuracy"] == np.mean(
            z.argmax(axis=1) == np.asarray(batch.targets)
        )
        assert [
            metrics[f"{name}_norm"] for name in ("gradient", "update", "parameter")
        ] == pytest.approx(norms, rel=1e-5)
        assert metrics["learning_rate"] == 0.5
        assert metrics["momentum"] == pytest.approx(0.9)
    np.testing.assert_allclose(state.params["head"]["kernel"], w, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(state.params["head"]["bias"], b, rtol=2e-5, atol=1e-6)
    assert state.step == 3


def network(axis_name=None, width=8):
    model = resnet.ResNet(
        3,
        stages=(1, 1),
        block=resnet.BasicBlock,
        width=width,
        stem="cifar",
        zero_init_last_gamma=False,
        axis_name=axis_name,
        rngs=nnx.Rngs(0),
    )
    return functional(model)


def optimizer():
    return optax.chain(
        ot.clip_by_global_norm(1.0),
        ot.add_decayed_weights(1e-3, mask=ot.no_bias_or_norm),
        ot.sgd(lambda count: 0.1 / (1 + count), momentum=0.9, nesterov=True),
    )


IMAGES = {"size": 16, "shape": (8, 8, 3)}


def train_alone(steps=3, width=8, **options):
    apply, params, stats = network(width=width)
    tx = optimizer()
    state = create_state(params, stats, tx, jax.random.key(0))
    step = compile_step(make_train_step(apply, cross_entropy, tx, **options))
    for batch in batches(steps, **IMAGES):
        state, metrics = step(state, batch)
    return state, metrics


def assert_same(state: TrainState, metrics, alone):
    """Equal to rounding: sums over the batch are taken in another order."""
    for ours, theirs in ((state.params, alone[0].params), (metrics, alone[1])):
        chex.assert_trees_all_close(ours, theirs, rtol=2e-4, atol=2e-6)
    chex.assert_trees_all_close(
        state.batch_stats, alone[0].batch_stats, rtol=1e-5, atol=1e-6
    )
    assert state.step == alone[0].step


@pytest.mark.parametrize("layout", ["replicated", "zero1", "fsdp"])
def test_a_mesh_of_eight_gives_the_step_of_one_device(layout):
    """Arrays of more than 4,096 elements are split."""
    width = 8 if layout == "replicated" else 16
    apply, params, stats = network(width=width)
    tx = optimizer()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    step, state = compile_step_on_mesh(
        make_train_step(apply, cross_entropy, tx),
        mesh,
        create_state(params, stats, tx, jax.random.key(0)),
        layout=layout,
    )
    for batch in batches(3, **IMAGES):
        state, metrics = step(state, batch)
    kernel = state.params["stage2_block1"]["conv2"]["conv"]["kernel"]
    trace = optax.tree.get(state.opt_state, "trace")
    slot = trace["stage2_block1"]["conv2"]["conv"]["kernel"]
    assert slot.sharding.is_fully_replicated == (layout == "replicated")
    assert kernel.sharding.is_fully_replicated == (layout != "fsdp")
    for x in jax.tree.leaves((state.params, trace)):
        assert x.size > 4096 or x.sharding.is_fully_replicated
    alone = train_alone(width=width)
    assert_same(jax.device_get(state._replace(key=None)), metrics, alone)


def mesh_step(**options):
    """A step for eight devices that sum over the axis themselves, and its state."""
    apply, params, stats = network("data")
    tx = optimizer()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return compile_step_on_mesh(
        make_train_step(apply, cross_entropy, tx, axis_name="data"),
        mesh,
        create_state(params, stats, tx, jax.random.key(0)),
        **options,
    )


def test_devices_that_sum_themselves_give_the_step_of_one_device():
    step, state = mesh_step(axis_name="data")
    for batch in batches(3, **IMAGES):
        state, metrics = step(state, batch)
    assert_same(jax.device_get(state._replace(key=None)), metrics, train_alone())


@pytest.mark.parametrize("options", [{"axis_name": "x"}, {"layout": "fsdp"}])
def test_an_axis_goes_with_a_mesh_of_it_and_a_whole_state(options):
    with pytest.raises(ValueError, match="axis_name must be the one axis of the mesh"):
        mesh_step(**{"axis_name": "data"} | options)


def test_a_batch_that_the_devices_do_not_divide_is_named():
    apply, params, stats = functional(Linear(nnx.Rngs(0)))
    tx = ot.sgd(0.1)
    state = create_state(params, stats, tx, jax.random.key(0))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    step, placed = compile_step_on_mesh(
        make_train_step(apply, cross_entropy, tx), mesh, state
    )
    with pytest.raises(ValueError, match=r"multiple of the mesh's 8 devices.* got 12 ex"):
        step(placed, next(batches(1, size=12)))
    step, stacked = compile_step_on_devices(
        make_train_step(apply, cross_entropy, tx, axis_name="data"),
        state,
        axis_name="data",
    )
    for shape in ((12, 2, 2, 3), (4, 3, 2, 2, 3)):
        (batch,) = batches(1, size=12)
        batch = Batch(batch.inputs.reshape(shape), batch.targets.reshape(shape[:-3]))
        match = rf"first axis of the 8 devices .* got shape \[{shape[0]}, {shape[1]}"
        with pytest.raises(ValueError, match=match):
            step(stacked, batch)


def train_on_devices(**options):
    """Three steps under pmap; the state and metrics of every device."""
    apply, params, stats = network(**options)
    tx = optimizer()
    step, state = compile_step_on_devices(
        make_train_step(apply, cross_entropy, tx, axis_name="devices"),
        create_state(params, stats, tx, jax.random.key(0)),
        axis_name="devices",
    )
    for batch in batches(3, **IMAGES):
        split = jax.tree.map(lambda x: x.reshape(8, 2, *x.shape[1:]), batch)
        state, metrics = step(state, split)
        jax.block_until_ready(state.params)
    return jax.device_get((state._replace(key=None), metrics))


def test_pmap_over_eight_gives_the_step_of_one_device():
    everywhere = train_on_devices(axis_name="devices")
    for i in (0, 7):
        assert_same(*jax.tree.map(lambda x, i=i: x[i], everywhere), train_alone())


def test_statistics_of_a_device_alone_would_be_noticed():
    """Without the axis name each device normalises its two images by themselves."""
    everywhere = train_on_devices()
    with pytest.raises(AssertionError):
        assert_same(*jax.tree.map(lambda x: x[0], everywhere), train_alone())


def test_augmentation_is_drawn_from_key_and_step_alone():
    one = train_alone(augment=random_flip)
    chex.assert_trees_all_equal(train_alone(augment=random_flip)[0].params, one[0].params)
    kernel = one[0].params["stem"]["conv"]["kernel"]
    assert not np.allclose(train_alone()[0].params["stem"]["conv"]["kernel"], kernel)


def test_images_alternate_by_their_number_in_the_data_set_and_the_step():
    """An image, in whatever batch, is mirrored in every other epoch of two steps."""
    seen = []

    def alternate(key, images, indices, step):
        return alternating_flip(key, images, indices=indices, epoch=step // 2)

    def augment(key, images):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), images, ordered=True)
        return images

    apply, params, stats = functional(Linear(nnx.Rngs(0)))
    tx = ot.sgd(0.1)
    step = make_train_step(apply, cross_entropy, tx, alternate=alternate, augment=augment)
    state = create_state(params, stats, tx, jax.random.key(0))
    (data,) = batches(1)
    orders = np.random.default_rng(0).permutation(16).reshape(2, 8)
    compiled = compile_step(step)
    for index in (*orders, *orders[::-1]):
        state, _ = compiled(state, data.take(jnp.asarray(index)))
    jax.effects_barrier()
    even, odd = np.concatenate(seen[:2]), np.concatenate([seen[3], seen[2]])
    np.testing.assert_array_equal(odd, even[:, :, ::-1])
    plain = np.asarray(data.inputs)[orders.ravel()]
    mirrored = (even == plain[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((even == plain).all(axis=(1, 2, 3)) | mirrored).all()
    assert 0 < mirrored.sum() < 16

    with pytest.raises(ValueError, match="batch must have indices for alternate"):
        step(state, data)


def test_augmentation_is_the_same_on_a_mesh():
    apply, params, stats = network()
    tx = optimizer()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    step, state = compile_step_on_mesh(
        make_train_step(apply, cross_entropy, tx, augment=random_flip),
        mesh,
        create_state(params, stats, tx, jax.random.key(0)),
    )
    for batch in batches(3, **IMAGES):
        state, metrics = step(state, batch)
    alone = train_alone(augment=random_flip)
    assert_same(jax.device_get(state._replace(key=None)), metrics, alone)


def test_one_compilation_for_all_steps():
    apply, params, stats = network()
    tx = optimizer()
    traces = []
    plain = make_train_step(apply, cross_entropy, tx)

    def counted(state, batch):
        traces.append(1)
        return plain(state, batch)

    step = compile_step(counted)
    state = create_state(params, stats, tx, jax.random.key(0))
    for batch in batches(3, **IMAGES):
        state, _ = step(state, batch)
    assert len(traces) == 1


def test_bfloat16_activations_follow_float32():
    _, exact = train_alone()
    model = resnet.ResNet(
        3,
        stages=(1, 1),
        block=resnet.BasicBlock,
        width=8,
        stem="cifar",
        zero_init_last_gamma=False,
        dtype=jnp.bfloat16,
        rngs=nnx.Rngs(0),
    )
    apply, params, stats = functional(model)
    tx = optimizer()
    state = create_state(params, stats, tx, jax.random.key(0))
    step = compile_step(make_train_step(apply, cross_entropy, tx))
    for batch in batches(3, **IMAGES):
        state, metrics = step(state, batch)
    assert float(metrics["loss"]) == pytest.approx(float(exact["loss"]), rel=0.03)
    leaves = jax.tree.leaves((state.params, state.batch_stats))
    assert {x.dtype for x in leaves} == {jnp.dtype("float32")}


def test_normalize_is_the_formula():
    images = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3) * 10
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 2.0])
    preprocess = normalize(jnp.asarray(mean), jnp.asarray(std))
    np.testing.assert_allclose(
        preprocess(jnp.asarray(images)), (images / 255 - mean) / std, rtol=1e-5, atol=1e-6
    )


class Normalised(nnx.Module):
    """A dense layer, batch normalisation and a head: small, with statistics."""

    def __init__(self, rngs):
        self.dense = nnx.Linear(12, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, images, *, train):
        x = self.dense(images.reshape(len(images), -1))
        return self.head(self.norm(x, use_running_average=not train))


def test_sam_in_the_step_is_two_gradients_and_one_update_of_the_statistics():
    apply, params, stats = functional(Normalised(nnx.Rngs(0)))
    batch, tx = next(batches(1)), ot.sam(ot.sgd(0.1), 0.5)
    step = jax.jit(make_train_step(apply, cross_entropy, tx, augment=random_flip))
    state, metrics = step(create_state(params, stats, tx, jax.random.key(0)), batch)

    images = random_flip(step_keys(jax.random.key(0), 0).augment, batch.inputs)

    def loss(params):
        logits, new_stats = apply(params, stats, images, train=True)
        return jnp.mean(cross_entropy(logits, batch.targets)), new_stats

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    g, stats_here = gradient(params)
    norm = float(np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(g))))
    there = jax.tree.map(lambda w, x: w + 0.5 * x / norm, params, g)
    g_there, stats_there = gradient(there)
    want = jax.tree.map(lambda w, x: w - 0.1 * x, params, g_there)

    chex.assert_trees_all_close(state.params, want, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(state.batch_stats, stats_here, rtol=1e-5, atol=1e-6)
    assert metrics["sharpness"] == pytest.approx(0.5 * norm, rel=1e-5)
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    for here, away in ((g, g_there), (stats_here, stats_there)):
        with pytest.raises(AssertionError):  # or the test would not tell them apart
            chex.assert_trees_all_close(here, away, rtol=1e-3)


def spy():
    """Keeps what the step hands to an update, and what its functions return there."""

    def update(updates, state, params, *, value, grad, value_fn, grad_fn):
        again, slope = jax.value_and_grad(value_fn)(params)
        return updates, (value, grad, again, slope, grad_fn(params))

    return optax.GradientTransformationExtraArgs(
        lambda w: (jnp.zeros(()), w, jnp.zeros(()), w, w), update
    )


@pytest.mark.parametrize("devices", [1, 8])
def test_the_optimiser_is_given_the_loss_as_a_value_and_as_a_function(devices):
    """Under pmap the derivative of `value_fn` too is that of all devices' mean loss."""
    apply, params, stats = functional(Linear(nnx.Rngs(0)))
    state = create_state(params, stats, spy(), jax.random.key(0))
    batch = next(batches(1))
    if devices == 1:
        step = compile_step(make_train_step(apply, cross_entropy, spy()))
    else:
        step = make_train_step(apply, cross_entropy, spy(), axis_name="devices")
        step, state = compile_step_on_devices(step, state, axis_name="devices")
        batch = jax.tree.map(lambda x: x.reshape(8, 2, *x.shape[1:]), batch)
    state, metrics = step(state, batch)
    value, grad, again, slope, grad_fn = state.opt_state
    np.testing.assert_allclose(value, metrics["loss"])
    np.testing.assert_allclose(again, value, rtol=1e-6)
    for other in (slope, grad_fn):
        chex.assert_trees_all_close(other, grad, rtol=1e-5, atol=1e-7)

    flat = jax.tree.map(lambda x: x.reshape(16, *x.shape[-3:]), batch.inputs)

    def loss(params):
        logits, _ = apply(params, stats, flat, train=True)
        return jnp.mean(cross_entropy(logits, batch.targets.reshape(16)))

    first = jax.tree.map(lambda g, w: g.reshape(-1, *w.shape)[0], slope, params)
    chex.assert_trees_all_close(first, jax.grad(loss)(params), rtol=1e-5, atol=1e-7)


def test_functions_that_the_optimiser_does_not_take_are_not_compiled():
    """One product forward and one backward for softmax regression; SAM has two each."""
    apply, params, stats = functional(Linear(nnx.Rngs(0)))

    def products(tx):
        step = make_train_step(apply, cross_entropy, tx)
        state = create_state(params, stats, tx, jax.random.key(0))
        return str(jax.make_jaxpr(step)(state, next(batches(1)))).count("dot_general")

    assert [products(tx) for tx in (ot.sgd(0.1), ot.sam(ot.sgd(0.1)))] == [2, 4]


def test_lbfgs_with_its_line_search_trains_in_the_step():
    apply, params, stats = functional(Linear(nnx.Rngs(0)))
    tx = optax.lbfgs()
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    state = create_state(params, stats, tx, jax.random.key(0))
    batch, losses = next(batches(1)), []
    for _ in range(5):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.3 * losses[0]


class Deep(nnx.Module):
    """Sixteen small arrays, some of them biases."""

    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(12, 12, rngs=rngs) for _ in range(7)])
        self.head = nnx.Linear(12, 3, rngs=rngs)

    def __call__(self, images, *, train):
        x = images.reshape(len(images), -1)
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.head(x)


@pytest.mark.parametrize(
    "tx",
    [
        optax.chain(
            ot.clip_by_global_norm(0.5),
            ot.add_decayed_weights(0.1, mask=ot.no_bias_or_norm),
            ot.sgd(0.1, momentum=0.9),
        ),
        ot.lars(1.0, weight_decay=0.1, trust_coefficient=0.1),
        ot.sam(ot.adam(0.01)),
    ],
    ids=["clipped sgd", "lars", "sam"],
)
def test_packed_parameters_take_the_same_steps(tx):
    """Masks and norms per layer included; four buffers, not sixteen arrays."""
    apply, params, stats = functional(Deep(nnx.Rngs(0)))
    step = jax.jit(make_train_step(apply, cross_entropy, tx))
    key = jax.random.key(0)
    plain = create_state(params, stats, tx, key)
    packed = create_state(params, stats, tx, key, packed=True)
    assert len(jax.tree.leaves(packed.params)) == 4  # the head's stand alone
    for batch in batches(3):
        plain, of_plain = step(plain, batch)
        packed, of_packed = step(packed, batch)
        for name in ("loss", "gradient_norm", "update_norm", "parameter_norm"):
            np.testing.assert_allclose(of_packed[name], of_plain[name], rtol=1e-5)
    chex.assert_trees_all_close(
        ot.unpack(packed.params), plain.params, rtol=1e-5, atol=1e-6
    )
    first = next(batches(1))
    evaluate = make_evaluate(apply, cross_entropy, batch_size=8)
    results = [evaluate(s.params, s.batch_stats, first) for s in (plain, packed)]
    assert results[0].metrics == results[1].metrics
