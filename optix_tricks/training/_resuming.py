"""Where a run goes on: the newest sound checkpoint, and whether the settings are its."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optix_tricks.training._checkpoint import CheckpointError, first_sound, numbers
from optix_tricks.training._checksums import damaged, noted
from optix_tricks.training._run_directory import RunError
from optix_tricks.training._watch import Watch

WHOLE, WITHIN = "checkpoints", "checkpoints-within"  # after epochs; after steps
FREE = {
    "epochs",
    "checkpoint_every",
    "data_dir",
}  # settings that a resumed run may change


class LostRows(UserWarning):
    """A run goes on without rows of `metrics.jsonl` that are gone."""


class Place(NamedTuple):
    """A checkpoint from which a run goes on."""

    directory: Path  # of it and its kin
    number: int  # its own: of epochs or, within an epoch, of steps
    step: int  # done
    is_whole: bool  # after an epoch and its tests

    def epoch(self, steps: int) -> int:
        """How many epochs are done, but for the test of the last."""
        return self.number if self.is_whole else (self.step - 1) // steps

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.directory / str(self.number)


def has_checkpoint(run: Path) -> bool:
    """Whether a run got as far as its first checkpoint."""
    return any(numbers(run / kind) for kind in (WHOLE, WITHIN))


def newest_place(
    run: Path, steps: int, watch: Watch, rows: Sequence[dict[str, Any]]
) -> Place:
    """Find the newest sound checkpoint beside which that of the best epoch still is.

    Args:
      run: its directory.
      steps: of an epoch.
      watch: before the first row.
      rows: of the run.

    Warns:
      DamagedCheckpoint: for each that is passed over.

    Raises:
      CheckpointError: if there is none.
    """
    whole, within = run / WHOLE, run / WITHIN
    places = [Place(whole, n, n * steps, True) for n in numbers(whole)]
    places += [Place(within, n, n, False) for n in numbers(within)]
    places.sort(key=lambda place: (place.step, place.is_whole), reverse=True)

    def serves(place: Place) -> bool:
        if not watch.ends_with_best:
            return True
        done = place.epoch(steps)
        best = watch.after(x for x in rows if math.ceil(x["epoch"]) <= done).best
        return best in (None, done) or damaged(whole / str(best)) is None

    places = [place for place in places if serves(place)]
    if not places:
        raise CheckpointError(f"no checkpoint in {run} can be gone on from.")
    said = [f"{x.number}" if x.is_whole else f"of step {x.number}" for x in places]
    named = [(name, place.path) for name, place in zip(said, places, strict=True)]
    return places[first_sound(named)]


def check_rows(
    run: Path, step: int, rows: Sequence[dict[str, Any]], *, decide: bool
) -> None:
    """Say which rows of a run are gone up to a step from which it goes on.

    Args:
      run: its directory.
      step: from which it goes on.
      rows: what there is of them.
      decide: whether they say how it ends: which epoch is best, how often it went back.

    Warns:
      LostRows: if rows are gone, and nothing follows from them.

    Raises:
      RunError: if something does.
    """
    last = max((row["step"] for row in rows if row["kind"] == "train"), default=0)
    if last >= step:
        return
    path = run / "metrics.jsonl"
    lost = f"ends at step {last}" if path.exists() else "is gone"
    if decide:
        raise RunError(
            f"{path} {lost}, and how the run goes on after step {step} follows from its"
            f" rows: put it back, or start a new run with --from {run}."
        )
    warnings.warn(
        f"{path} {lost}: its rows up to step {step} are lost; going on from there to the"
        " same weights",
        LostRows,
        stacklevel=3,
    )


def check_settings(run: Path, place: Place, now: Mapping[str, Any]) -> None:
    """Raise RunError if config.json is not what the checkpoint was trained with.

    Names each field that differs, but for those that may.
    """
    then = noted(place.path).get("settings")
    if then is None:
        return
    found = list(_differences(flat(then), flat(now)))
    if found:
        raise RunError(
            f"{run / 'config.json'} is not what checkpoint {place.number} was trained"
            f" with: {'; '.join(found)}. Put it back, or start a new run with --from"
            f" {run}."
        )


def flat(x: Any, name: str = "") -> dict[str, Any]:
    """Return numbers by their path; tricks, which are pairs, by their name."""
    if isinstance(x, list) and x and all(_is_pair(each) for each in x):
        x = {key: dict(numbers) for key, numbers in x}
    if not isinstance(x, Mapping) or not x:
        return {name: x}
    found: dict[str, Any] = {}
    for key, value in x.items():
        found |= flat(value, f"{name}.{key}" if name else str(key))
    return found


def _is_pair(x: Any) -> bool:
    return isinstance(x, list) and len(x) == 2 and isinstance(x[1], Mapping)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(then.keys() | now.keys()):
        a, b = (x.get(name, "absent") for x in (then, now))
        if a != b and name not in FREE:
            yield f"{name} was {a} and is {b}"
