"""The figure of the batch size's trade shows the predictions."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from optix_tricks.dynamics import NoiseScale, batch_trade
from optix_tricks.reports import plot_batch_trade
from optix_tricks.reports._batch_size import _short

SIZES = np.array([16, 64, 256, 1024])


def lines(ax):
    return {line.get_gid(): line for line in ax.lines if line.get_gid()}


@pytest.mark.parametrize("dark", [False, True])
def test_it_shows_the_batch_sizes_the_critical_one_and_the_fastest(dark):
    seconds = np.array([1.0, 1.1, 2.3, 6.0])
    trade = batch_trade(
        100.0, SIZES, current_batch_size=64, current_steps=2000, step_seconds=seconds
    )
    figure = plot_batch_trade(trade, dark=dark)
    steps, time = figure.axes
    drawn = lines(steps)
    np.testing.assert_allclose(drawn["batch sizes"].get_xdata(), trade.examples[0])
    np.testing.assert_allclose(drawn["batch sizes"].get_ydata(), trade.steps[0])
    x, y = drawn["prediction"].get_data()
    np.testing.assert_allclose([x[0], x[-1]], trade.examples[0][jnp.array([0, -1])], 1e-5)
    np.testing.assert_allclose([y[0], y[-1]], trade.steps[0][jnp.array([0, -1])], 1e-5)
    corner = 2 * trade.min_examples[0], 2 * trade.min_steps[0]
    np.testing.assert_allclose(np.ravel(drawn["critical"].get_data()), corner, rtol=1e-6)
    texts = [text.get_text() for text in steps.texts]
    assert texts == ["16", "64", "256", "1024", "critical batch 100 [100, 100]"]
    np.testing.assert_allclose(lines(time)["seconds"].get_ydata(), trade.seconds[0])
    assert lines(time)["fastest"].get_xdata() == [64]
    assert [ax.get_xlabel() for ax in figure.axes] == ["examples", "batch size"]
    assert {ax.get_xscale() for ax in figure.axes} == {"log"}


@pytest.mark.parametrize("noise_scale", [0.0, np.inf])
def test_without_a_critical_size_it_is_drawn_and_saved(noise_scale):
    trade = batch_trade(jnp.float32(noise_scale), SIZES, current_batch_size=64)
    figure = plot_batch_trade(trade)
    (ax,) = figure.axes
    assert "critical" not in lines(ax)
    file = io.BytesIO()
    figure.savefig(file, dpi=40)
    with Image.open(file) as image:
        assert image.format == "PNG"


def test_one_batch_size_raises():
    trade = batch_trade(100.0, SIZES[:1], current_batch_size=64)
    with pytest.raises(ValueError, match="at least 2 batch sizes, got 1"):
        plot_batch_trade(trade)


def test_the_interval_is_a_band_and_a_part_of_the_line():
    """A noise scale of 100 that may be 30 or 300, drawn at sizes from 16 to 1,024."""
    noise = NoiseScale(*jnp.zeros((9, 1)))._replace(
        noise_scale=100.0, low=30.0, high=300.0
    )
    trade = batch_trade(noise, SIZES, current_batch_size=64, current_steps=2000)
    (ax,) = plot_batch_trade(trade).axes
    steps, examples = (
        np.asarray(x, float) for x in (trade.min_steps, trade.min_examples)
    )
    [band] = [patch for patch in ax.patches if patch.get_gid() == "interval"]
    outline = band.get_xy()
    for row, size, i in ((0, 16, 1), (199, 1024, 1), (200, 1024, 2), (399, 16, 2)):
        wanted = steps[i] * size + examples[i], steps[i] + examples[i] / size
        np.testing.assert_allclose(outline[row], wanted, rtol=1e-5)
    x, y = lines(ax)["critical interval"].get_data()
    for place, size in ((0, 30), (-1, 300)):
        np.testing.assert_allclose(x[place], steps[0] * size + examples[0], rtol=1e-5)
        np.testing.assert_allclose(y[place], steps[0] + examples[0] / size, rtol=1e-5)
    rules = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in rules[:1]] == [pytest.approx(examples[0])]
    assert rules[1].get_ydata()[0] == pytest.approx(steps[0])


def test_numbers_are_short_on_both_sides_of_one():
    wanted = {0.05: "0.05", 0.5: "0.5", 1.0: "1", 20_000.0: "20k"}
    assert {x: _short(x) for x in wanted} == wanted


def test_two_batch_sizes_are_enough():
    trade = batch_trade(100.0, SIZES[:2], current_batch_size=64)
    figure = plot_batch_trade(trade)
    assert lines(figure.axes[0])["batch sizes"].get_xdata().shape == (2,)
