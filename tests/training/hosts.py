"""A process of several that train together: `python -m ... DIRECTORY HOST:PORT N I`."""

import sys
from pathlib import Path

from optix_tricks.training import RunDirectory, train
from optix_tricks.training._hosts import connect, together
from tests.training.toy_runs import RUN, toy_dataset


def main(path, coordinator, processes, process, *words):
    connect(coordinator, int(processes), int(process), wait=30)
    from tests.training.wide import calm_job

    there, changes = (Path(path) / "config.json").exists(), {}
    places = {"devices": 4, "layout": "replicated"}
    for word in words:
        name, _, said = word.partition("=")
        of = places if name in places else changes
        of[name] = int(said) if said.isdigit() else said
    together("all have looked")
    config = {"recipe": RUN.recipe.name, "config": RUN.as_json()}
    if int(process):
        together("the directory is made")
        run = RunDirectory.follow(path)
    else:
        run = (
            RunDirectory.reopen(path)[0] if there else RunDirectory.start(path, **config)
        )
        together("the directory is made")
    with run:
        train(calm_job(**changes), toy_dataset(), run, resume=there, **places)


if __name__ == "__main__":
    main(*sys.argv[1:])
