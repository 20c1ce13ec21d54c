"""The network of an earlier run, made by its recipe, for runs that learn from it."""

from optix_tricks.training._run_directory import read_settings
from optix_tricks.tricks import Earlier
from optix_tricks.tricks._starts import with_weights_of


def restore(path: str) -> Earlier:
    """Return the network of a run with its newest weights.

    Raises:
      RunError: if `path` is no run, or of a recipe that makes no module.
    """
    from optix_tricks.recipes import reconfigure

    name, fields = read_settings(path)
    run = reconfigure(path, name, fields, from_copy=True).resumed()
    context = run.setup.plan(run.load()).context
    model = with_weights_of(context.network.module(run.seed), run=path)
    return Earlier(model, context.prepare)
