"""A process of several that train together: `python -m ... DIRECTORY HOST:PORT N I`."""

import sys
from pathlib import Path

from optix_tricks.training import RunDirectory, load_dataset, train
from optix_tricks.training import _run_devices as run_devices
from optix_tricks.training._hosts import connect, together
from tests.training.toy_runs import RUN, toy_dataset


def main(path, coordinator, processes, process, *words):
    connect(coordinator, int(processes), int(process), wait=30)
    from tests.training.wide import calm_job

    there, changes = (Path(path) / "config.json").exists(), {}
    places = {"devices": 4, "layout": "replicated", "workers": 0, "profile": None}
    about = {"folder": "", "stream": 0}  # of pictures in place of the toy's
    for word in words:
        name, _, said = word.partition("=")
        of = next((x for x in (places, about) if name in x), changes)
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
    job, dataset = calm_job(**changes), toy_dataset()
    if about["folder"]:
        from tests.training.pictures import SIZE, picture_job

        of_data = {"stream": bool(about["stream"]), "image_size": SIZE}
        job, dataset = picture_job(**changes), load_dataset(about["folder"], **of_data)
        if not about["stream"]:
            run_devices.SHARE = 0.0  # each host keeps its part alone
    with run:
        train(job, dataset, run, resume=there, **places)


if __name__ == "__main__":
    main(*sys.argv[1:])
