"""The figure of layer profiles shows what was measured."""

import io

import numpy as np
import pytest
from PIL import Image

from optix_tricks.dynamics import LayerProfile
from optix_tricks.reports import plot_layer_profile


def profile(depth=5, seed=0):
    rows = np.random.default_rng(seed).uniform(0.1, 1, (7, depth)).astype("float32")
    return LayerProfile(tuple("abcdefgh"[:depth]), *rows, 0.1, 0.01, "steady")


@pytest.mark.parametrize("dark", [False, True])
def test_three_panels_and_a_line_a_model(dark):
    given = {"plain": profile(), "with norm": profile(3, seed=1)}
    figure = plot_layer_profile(given, dark=dark)
    activations, gradients, dead = figure.axes
    for ax, wanted in (
        (activations, lambda p: p.activation_rms),
        (gradients, lambda p: p.gradient_norm / p.gradient_norm[-1]),
        (dead, lambda p: p.dead),
    ):
        lines = {line.get_gid(): line for line in ax.lines if line.get_gid()}
        assert list(lines) == list(given)
        for line, shown in zip(lines.values(), given.values(), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), wanted(shown))
            np.testing.assert_array_equal(
                line.get_xdata(), 1 + np.arange(len(shown.paths))
            )
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "log", "linear"]
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [
        "plain: steady",
        "with norm: steady",
    ]


def test_zeros_are_gaps_and_it_is_saved_as_a_png():
    given = profile()._replace(gradient_norm=np.zeros(5), activation_rms=np.zeros(5))
    file = io.BytesIO()
    plot_layer_profile({"nothing": given}).savefig(file, dpi=40)
    with Image.open(file) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize("count", [0, 5])
def test_too_few_or_too_many_models_raise(count):
    with pytest.raises(ValueError, match=f"1 to 4 models, got {count}"):
        plot_layer_profile({str(i): profile() for i in range(count)})


def test_four_models_are_drawn_and_shares_are_percents():
    figure = plot_layer_profile({name: profile() for name in "abcd"})
    *logs, dead = figure.axes
    assert len(dead.lines) == 4
    assert dead.yaxis.get_major_formatter()(0.5) == "50%"
    low, high = dead.get_ylim()
    assert -0.1 < low < 0 < 1 < high < 1.1
    for ax in logs:
        assert ax.yaxis.get_major_locator().__class__.__name__ == "LogLocator"
