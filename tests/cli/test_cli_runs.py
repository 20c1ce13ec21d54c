"""`optix-tricks runs`: what is there, in which order."""

import json

import pytest

from tests.cli.command import run


def write(path, recipe="digits", *, started, tricks=("sgd",), result=None, rows=()):
    path.mkdir(parents=True)
    config = {"epochs": 4, "tricks": [[name, {}] for name in tricks]}
    (path / "config.json").write_text(json.dumps({"recipe": recipe, "config": config}))
    said = {"started": f"{started}T12:00:00+00:00"}
    (path / "environment.json").write_text(json.dumps(said))
    if result is not None:
        (path / "result.json").write_text(json.dumps(result))
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (path / "metrics.jsonl").write_text(text + '{"kind": "train", "ep')


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    folder = tmp_path / "runs"
    numbers = {"test_loss": 0.5, "test_accuracy": 0.75, "test_size": 9, "epochs": 4}
    write(folder / "b", started="2026-01-02", result=numbers | {"seconds": 61.25})
    better = numbers | {"test_accuracy": 0.875, "test_loss": 0.7, "epochs": 1}
    write(
        folder / "deep" / "a[0]",
        "./mine.py",
        started="2026-01-03",
        tricks=("adam", "mixup"),
        result=better,
    )
    write(folder / "c", started="2026-01-01", rows=[{"epoch": 1.5}, {"epoch": 2.25}])
    write(folder / "c" / "checkpoints" / "1", started="2020-01-01")  # of c, and no run
    (folder / "broken").mkdir()
    (folder / "broken" / "config.json").write_text("{")
    return folder


def order(out):
    places = {name: out.find(f"runs/{name} ") for name in ("b", "c", "deep/a[0]")}
    return [name for name in sorted(places, key=places.get) if places[name] >= 0]


def test_runs_are_listed_by_date_with_what_they_came_to(here, capsys):
    code, out, err = run(capsys, "runs")
    assert (code, err) == (0, "")
    assert order(out) == ["c", "b", "deep/a[0]"]
    assert max(map(len, out.splitlines())) <= 80
    for words in (
        "accuracy 75.00%, loss 0.5, 4 epochs, 61.2 s",
        "accuracy 87.50%, loss 0.7, 1 epoch",
        "no result yet: epoch 2.25 of 4",
        "./mine.py: adam mixup",
        "digits: sgd",
        "2026-01-02 ",
    ):
        assert words in out
    assert "2020" not in out
    assert "broken" not in out


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (["--sort", "accuracy"], ["c", "b", "deep/a[0]"]),
        (["--sort", "test-loss"], ["c", "deep/a[0]", "b"]),  # least is best, and last
        (["--sort", "recipe", "--last", "2"], ["c", "b"]),
        (["--recipe", "digits"], ["c", "b"]),
        (["--trick", "adam", "--trick", "mixup"], ["deep/a[0]"]),
        (["--last", "1"], ["deep/a[0]"]),
        (["runs/b"], ["b"]),
    ],
)
def test_they_are_filtered_and_sorted(here, capsys, flags, wanted):
    code, out, err = run(capsys, "runs", *flags)
    assert (code, err) == (0, "")
    assert order(out) == wanted


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["nowhere"], "there is no directory nowhere: train something first"),
        (["--recipe", "cifar"], "there is no such run in runs."),
        (["--sort", "acuracy"], "test_loss, test_size, got 'acuracy'."),
        (["--last", "0"], "--last must be 1 or more, got 0."),
    ],
)
def test_wrong_usage_is_one_sentence(here, capsys, flags, message):
    code, _, err = run(capsys, "runs", *flags)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
