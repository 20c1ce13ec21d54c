"""Legal calls of public functions whose docstring has none."""

TOY = """
import sys
sys.path.insert(0, {root!r})
import jax, jax.numpy as jnp, numpy as np, optax
from flax import nnx
from optix_tricks import training
from tests.training.toy_runs import RUN, linear, linear_job, start, toy_dataset
from pathlib import Path

def loss(outputs, targets):
    return jnp.mean(outputs, -1) - targets

job, data = linear_job(epochs=1), toy_dataset()
key = jax.random.key(0)
made = training.create_state(job.params, {{}}, job.tx, key)
images, labels = (jnp.asarray(x[:16]) for x in data.train[:2])
batch = training.Batch(images, labels)
step = training.make_train_step(linear, job.loss, job.tx)
source = training.ArraySource(np.zeros((10, 8, 8, 3), np.uint8), np.arange(10))
rngs = nnx.Rngs(0)
landed = {root!r} + "/tests/runs/landed"
"""
EMPTY = """
Path('ledger').mkdir(exist_ok=True)
Path('ledger/ledger.jsonl').write_text('')
"""
UNTRAINED = """
from optix_tricks.ledger import _trainings
of_nothing = {'test_loss': 1.0, 'diverged': False, 'epochs': 1, 'validation_loss': 1.0}
_trainings.train_once = lambda *args: of_nothing
"""
AXES = """
from optix_tricks.ledger import Axis
axes = [Axis('learning_rate', (0.1, 0.2))]
"""
COPY = """
import shutil
shutil.copytree(landed, 'run', dirs_exist_ok=True)
"""
SQUARE = "lambda x: x**2, lambda rng: (rng.normal(size=4),)"
CALLS = {
    "ahead.compile_only_devices": "compile_only_devices('nowhere')",
    "ahead.lower_step": "lower_step(job, data, jax.devices()[:1])",
    "ahead.roofline": (
        "from optix_tricks.ahead import compiled_facts\n"
        "facts = compiled_facts(jax.jit(jnp.sin).lower(1.0).compile())\n"
        "roofline(facts, 1e9, training.CHIPS['h100'])"
    ),
    "pack_like": (
        "import optix_tricks as ot\nw = {'a': jnp.ones(3)}\npack_like(w, ot.pack(w))"
    ),
    "unpack": "import optix_tricks as ot\nunpack(ot.pack({'a': jnp.ones(3)}))",
    "recipes.find_recipe": "find_recipe('digits')",
    "recipes.new_run": "new_run('digits')",
    "recipes.reconfigure": (
        "from optix_tricks.recipes import new_run\n"
        "reconfigure('run', 'digits', new_run('digits').as_json())"
    ),
    "reports.plot_curves": (
        "from optix_tricks.reports import read_run\nplot_curves(read_run(landed))"
    ),
    "testing.assert_equal": "assert_equal(jnp.ones(2), jnp.ones(2))",
    "testing.cast": "cast({'a': jnp.ones(2)}, 'bfloat16')",
    "testing.compiled": "compiled(optax.sgd(0.1))",
    "training.Airbench": "Airbench(10, widths=(4, 4, 4), rngs=rngs)",
    "training.BasicBlock": (
        "BasicBlock(4, 4, stride=1, last_scale=nnx.initializers.ones,"
        " dtype=jnp.float32, axis_name=None, rngs=rngs)"
    ),
    "training.BottleneckBlock": (
        "BottleneckBlock(4, 4, stride=1, last_scale=nnx.initializers.ones,"
        " dtype=jnp.float32, axis_name=None, rngs=rngs)"
    ),
    "training.Checkpoints": "Checkpoints(Path('some-run'))",
    "training.ConvNorm": (
        "ConvNorm(3, 4, 3, dtype=jnp.float32, axis_name=None, rngs=rngs)"
    ),
    "training.ResNet": (
        "ResNet(10, stages=(1,), block=training.BasicBlock, width=4, rngs=rngs)"
    ),
    "training.ResNet9": "ResNet9(10, width=4, rngs=rngs)",
    "training.call_norm": (
        "call_norm(nnx.BatchNorm(3, rngs=rngs), jnp.ones((2, 3)), train=True)"
    ),
    "training.compile_step": "compile_step(step)(made, batch)",
    "training.compile_step_on_devices": (
        "compile_step_on_devices(step, made, axis_name='data')"
    ),
    "training.compile_step_on_mesh": (
        "compile_step_on_mesh(step, jax.make_mesh((1,), ('data',)), made)"
    ),
    "training.count_parameters": "count_parameters({'a': jnp.ones(3)})",
    "training.create_state": "create_state(job.params, {}, job.tx, key)",
    "training.decode": "decode(0, source[0])",
    "training.default_metrics": "default_metrics(jnp.ones((4, 3)), jnp.arange(4))",
    "training.epoch_order": "epoch_order(key, 0, 10, 4)",
    "training.epoch_orders": "next(iter(epoch_orders(key, 1, 10, 4)))",
    "training.functional": "functional(nnx.Linear(2, 3, rngs=rngs))",
    "training.generate": "generate(8)",
    "training.global_max_pool": "global_max_pool(jnp.ones((2, 4, 4, 3)))",
    "training.max_pool_2x2": "max_pool_2x2(jnp.ones((2, 4, 4, 3)))",
    "training.jit": "jit(jnp.sin)(1.0)",
    "training.kernels_in_order": "kernels_in_order(linear, job.params, {}, images)",
    "training.load_arrays": "load_arrays('nowhere.npz')",
    "training.load_dataset": "load_dataset('digits')",
    "training.lookahead_statistics": (
        "lookahead_statistics(linear, {}, sync_period=5, slow_step_size=lambda n: 0.5)"
    ),
    "training.make_epoch": "make_epoch(step)",
    "training.make_evaluate": "make_evaluate(linear, job.loss, batch_size=16)",
    "training.make_train_step": "make_train_step(linear, job.loss, job.tx)(made, batch)",
    "training.normalize": "normalize(jnp.zeros(3), jnp.ones(3))",
    "training.on_slow_weights": "on_slow_weights(made)",
    "training.predicted": "predicted(linear, job.params, {}, images, views=None)",
    "training.prepared": (
        "prepared(batch, training.step_keys(key, 0), made, alternate=None,"
        " augment=None, mix=None)"
    ),
    "training.read_picture": (
        "import io, PIL.Image\n"
        "kept = io.BytesIO()\n"
        "PIL.Image.new('RGB', (4, 4)).save(kept, 'png')\n"
        "read_picture(kept.getvalue())"
    ),
    "training.step_keys": "step_keys(key, 0)",
    "training.steps_per_epoch": "steps_per_epoch(10, 4)",
    "training.stream_epoch": (
        "with training.Stream(source, batch_size=4, seed=0) as stream:\n"
        "    stream_epoch(lambda state, batch: (state, {}), made, stream, steps=1)"
    ),
    "training.sweep_jobs": (
        "sweep_jobs(lambda rate, seed: linear_job(seed=seed), data,"
        " settings=jnp.ones(1), seeds=[0])"
    ),
    "training.train": "train(job, data, start(Path('run')))",
    "training.RunDirectory": (
        "start(Path('run')).__exit__()\nRunDirectory(Path('run'), writes=False)"
    ),
    "tricks.classifier": "classifier(training.ResNet9)",
    "tricks.find_trick": "find_trick('mixup')",
    "tricks.summary": (
        "from optix_tricks.tricks import TRICKS\nsummary(TRICKS['mixup'])"
    ),
    "ledger.added": (
        "from optix_tricks.tricks import TRICKS\nadded(RUN, [TRICKS['mixup']])"
    ),
    "ledger.best_point": "best_point(np.ones((2, 3)), highest=True)",
    "ledger.choose": "choose(RUN, data, ['mixup'])",
    "ledger.corrected": "corrected([])",
    "ledger.digest_of": "digest_of(RUN)",
    "ledger.grid": f"{AXES}grid(RUN, axes)",
    "ledger.measure_costs": "measure_costs(RUN, [], data, path='ledger')",
    "ledger.measure_effects": (
        "measure_effects(RUN, [], data, path='ledger', seeds=2, budget=0.0)"
    ),
    "ledger.measure_grid": (
        f"{AXES}from optix_tricks.ledger import grid\n"
        "measure_grid(grid(RUN, axes), data, path='ledger', seeds=1, budget=0.0)"
    ),
    "ledger.read_rows": "Path('rows').write_text('')\nread_rows('rows')",
    "ledger.removed": "removed(RUN)",
    "ledger.step_cost": "step_cost(job, job, data, rounds=2)",
    "ledger.tuned": UNTRAINED + "tuned(RUN, [], data, path='ledger')",
    "ledger.write_summary": (
        EMPTY + "write_summary('ledger', RUN, [], data, seeds=2, resolution=0.1)"
    ),
    "reports.write_comparison": (
        COPY + "shutil.copytree(landed, 'other')\nwrite_comparison(['run', 'other'])"
    ),
    "reports.write_ledger": (
        EMPTY + "from optix_tricks.ledger import write_summary\n"
        "write_summary('ledger', RUN, [], data, seeds=2, resolution=0.1)\n"
        "write_ledger('ledger')"
    ),
    "reports.write_sweep": (
        "write_sweep('.', title='', axes={'a': [1.0, 2.0]}, chosen_by='test_loss',"
        " results={'test_loss': [[0.1], [0.2]]}, share=[0.0, 1.0])"
    ),
    "runs.load_run": COPY + "load_run('run')",
    "studies.diagnose_run": COPY + "diagnose_run('run')",
    "studies.find_learning_rate": "find_learning_rate(RUN, data, steps=10, seeds=1)",
    "studies.measure_curvature": COPY + "measure_curvature('run', images=8)",
    "studies.probe_run": COPY + "probe_run('run')",
    "studies.run_study": (
        "from optix_tricks.studies._weight_norm import Config\n"
        "run_study(Config(), data, start(Path('run')), parts=())"
    ),
    "studies.sweep_learning_rates": (
        "sweep_learning_rates(lambda rate, seed: linear_job(seed=seed), data, rates=[],"
        " seeds=[0], path='sweep.jsonl')"
    ),
    "studies.write_learning_rate_study": (
        "from optix_tricks.studies import find_learning_rate\n"
        "study = find_learning_rate(RUN, data, steps=10, seeds=1)\n"
        "write_learning_rate_study(study, start(Path('run')))"
    ),
    "testing.LayerSubject": (
        "LayerSubject(lambda rngs: nnx.Linear(3, 2, rngs=rngs), (4, 3))"
    ),
    "testing.LossSubject": f"LossSubject({SQUARE})",
    "testing.ScheduleSubject": (
        "ScheduleSubject(optax.constant_schedule, {'value': 0.1})"
    ),
    "testing.TransformationSubject": (
        "TransformationSubject(optax.sgd, {'learning_rate': 0.1})"
    ),
    "testing.assert_column": (
        "from optix_tricks import testing\n"
        f"assert_column(testing.LossSubject({SQUARE}), lambda subject: None)"
    ),
    "training.device_bytes": "device_bytes({'a': jnp.ones(3)})",
    "training.hardest_by_proxy": (
        "proxy = training.Proxy(linear, job.params, {}, job.tx)\n"
        "hardest_by_proxy(linear, {}, proxy, job.loss, kept=2)"
    ),
    "training.host_batches": "host_batches(source, 4, 0, None, 0, 0, 0)",
    "training.measure_ways": (
        "measure_ways(lambda way: lambda n: None, members=1, steps=1, scan=False)"
    ),
    "training.state_shardings": (
        "state_shardings(made, jax.make_mesh((1,), ('data',)), 'replicated')"
    ),
}
NAN = {  # whose docstring says where it gives one
    "ledger.paired_effect": "the deviation before the first look",
    "dynamics.corrected_equilibrium": "where its numbers leave no solution",
}
NOT_CALLED = {  # and why
    "training.load_tfds": "reads what is not there, or the network",
}
