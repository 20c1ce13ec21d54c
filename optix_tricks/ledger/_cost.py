"""What a trick costs: time of a step, of its compilation, memory; measured in pairs."""

import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from optix_tricks._checks import check_count
from optix_tricks.training import Dataset, Job, TrainState, create_state, jit

STEPS = 3  # between two readings of the clock, at least ...
SECONDS = 0.05  # ... and as many as this takes


class Cost(NamedTuple):
    """Of one run's step against another's.

    Attributes:
      step_ratio: geometric mean over rounds, this one's time over the other's.
      step_error: half-width of the 95 % interval, of the logarithm of the ratio.
      rounds: in each, both were timed, one right after the other.
      seconds: of a step of each, the median.
      compile_seconds: of tracing and compiling each; of reading it where JAX keeps
        compiled programs on the disk and has this one.
      memory: bytes that the compiled program of each needs at once.
    """

    step_ratio: float
    step_error: float
    rounds: int
    seconds: tuple[float, float]
    compile_seconds: tuple[float, float]
    memory: tuple[int, int]

    def turned(self) -> "Cost":
        """Return the cost of the other one against this."""
        return self._replace(
            step_ratio=1 / self.step_ratio,
            seconds=self.seconds[::-1],
            compile_seconds=self.compile_seconds[::-1],
            memory=self.memory[::-1],
        )


def step_cost(job: Job, base: Job, dataset: Dataset, *, rounds: int = 20) -> Cost:
    """Time two jobs' steps in turns, so that what disturbs one disturbs the other.

    The step is that outside all phases, on the first batch of the data. Cost: `rounds`
    times about a tenth of a second, or six steps, and two compilations.

    Args:
      job: with the trick.
      base: without it.
      dataset: of both.
      rounds: in which both are timed, in alternating order.
    """
    check_count("rounds", rounds, minimum=2)
    both = [_Compiled(each, dataset) for each in (job, base)]
    for each in both:
        each.settle()
    times = np.empty((rounds, 2))
    for i in range(rounds):
        for k in (0, 1) if i % 2 else (1, 0):
            times[i, k] = both[k].time()
    logs = np.log(times[:, 0] / times[:, 1])
    error = stats.t.isf(0.025, rounds - 1) * logs.std(ddof=1) / math.sqrt(rounds)
    first, second = np.median(times, axis=0)
    return Cost(
        step_ratio=float(np.exp(logs.mean())),
        step_error=float(error),
        rounds=rounds,
        seconds=(float(first), float(second)),
        compile_seconds=(both[0].compile_seconds, both[1].compile_seconds),
        memory=(both[0].memory, both[1].memory),
    )


class _Compiled:
    """A job's step, compiled anew, and the state that it has come to."""

    def __init__(self, job: Job, dataset: Dataset):
        index = np.arange(job.batch_size) % dataset.train.size
        batch = jax.tree.map(lambda x: jnp.asarray(x[index]), dataset.train)
        self.batch = batch._replace(indices=jnp.asarray(index))
        key = jax.random.key(job.seed)
        self.state = create_state(
            job.params, job.batch_stats, job.tx, key, packed=job.packed
        )
        jax.clear_caches()  # of what the other one has traced
        start = time.perf_counter()
        lowered = jit(_anew(job), donate_argnums=0).lower(self.state, self.batch)
        self.run = lowered.compile()
        self.compile_seconds = time.perf_counter() - start
        needs = self.run.memory_analysis()
        self.memory = int(
            needs.argument_size_in_bytes
            + needs.output_size_in_bytes
            - needs.alias_size_in_bytes
            + needs.temp_size_in_bytes
        )
        self.steps = STEPS

    def settle(self) -> None:
        """Warm up, and choose how many steps a reading takes."""
        self.time()
        self.steps = max(STEPS, math.ceil(SECONDS / self.time()))

    def time(self) -> float:
        """Return the seconds of a step, of a few one after the other."""
        jax.block_until_ready(self.state)
        start = time.perf_counter()
        for _ in range(self.steps):
            self.state, _ = self.run(self.state, self.batch)
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) / self.steps


def _anew(job: Job) -> Any:
    """The step as a function that nothing has traced yet."""

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Any]:
        return job.step(state, batch)

    return step
