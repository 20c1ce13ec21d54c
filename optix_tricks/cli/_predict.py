"""`optix-tricks predict`."""

import dataclasses
import json

from optix_tricks.cli._options import UsageError, parsed
from optix_tricks.cli._positional import Files, Run


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """What predicts, and of what."""

    run: Run
    """a run's directory, with a checkpoint"""
    files: Files
    """pictures, or .npy and .npz files of examples"""
    json: bool = False
    """print a line of JSON for each file"""
    data_dir: str | None = None
    """where the run's data are, if not where they were"""
    checkpoint: str = "newest"
    """newest; best, of a run with --keep-best; or the number of an epoch"""
    debug: bool = False
    """show the traceback of an error"""


def predict(arguments: list[str]) -> None:
    """Say of each example the three likeliest classes, or the numbers.

    Of a picture the largest part in the middle of the shape of the run's images is taken,
    and scaled to their size by a bilinear filter that averages.
    """
    options = parsed(PredictOptions, "predict", predict.__doc__, arguments)
    if not options.files:
        raise UsageError("predict needs files: pictures, .npy or .npz.")
    for file in options.files:
        if not file.is_file():
            raise UsageError(f"there is no file {file}.")
    import jax

    from optix_tricks.cli._answers import answering, part_of, predicted, text_of
    from optix_tricks.runs import load_run

    run = load_run(options.run, data_dir=options.data_dir, checkpoint=options.checkpoint)
    answer = answering(run)
    for file, outputs, is_many in predicted(run, options.files):
        count = len(jax.tree.leaves(outputs)[0])
        answers = [answer(part_of(outputs, i)) for i in range(count)]
        if options.json:
            print(json.dumps({"file": str(file), "examples": answers}))
            continue
        for place, each in enumerate(answers):
            print(f"{file}[{place}]" if is_many else file, text_of(each), sep="  ")
