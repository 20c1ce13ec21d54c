"""`jax.jit` with the compiler options that training a convolutional network wants."""

import functools
from collections.abc import Callable
from typing import Any

import jax

# XLA hands convolutions on a CPU to a library (YNNPACK) that takes 1.1 to 2.4 times as
# long as XLA's own: the types listed here are all that it may take.
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"}

LITTLE = {"xla_backend_optimization_level": 1}  # 0 has other bits


def jit(
    function: Callable[..., Any], *, platform: str | None = None, **options: Any
) -> Any:
    """Compile `function` by `jax.jit`, with `compiler_options` for a platform.

    That is JAX's default one if none is given.

    On a CPU the training step of a convolutional network then takes a half to three
    quarters of the time. The result must be called from outside of other compiled
    functions, as XLA has options for whole programs only.
    """
    return jax.jit(function, compiler_options=compiler_options(platform), **options)


def jit_once(function: Callable[..., Any]) -> Any:
    """Compile what runs once, on a CPU with little optimisation: in a third of the time.

    The bits are those of the function's operations one by one.
    """
    is_cpu = jax.default_backend() == "cpu"
    return jax.jit(function, compiler_options=LITTLE if is_cpu else {})


def explained(
    compiled: Callable[..., Any], fault: Callable[..., str | None]
) -> Callable[..., Any]:
    """Say what is wrong with the arguments where a compiled function refuses them.

    Costs a call nothing: `fault(*arguments)` is asked after an error only, for a sentence
    or None.
    """

    @functools.wraps(compiled)
    def call(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except (TypeError, ValueError) as error:
            if sentence := fault(*arguments):
                raise ValueError(sentence) from error
            raise

    if hasattr(compiled, "lower"):
        call.lower = compiled.lower  # type: ignore[attr-defined]
    return call


@functools.cache
def compiler_options(platform: str | None = None) -> dict[str, Any]:
    """Return the options; none of what is no CPU, or where XLA does not know them."""
    if (platform or jax.default_backend()) != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=CPU_OPTIONS).lower(0.0).compile()
    except RuntimeError:  # "No such compile option"
        return {}
    return CPU_OPTIONS
