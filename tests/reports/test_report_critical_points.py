"""The figure of Taylor models shows the loss, its models and where they hold."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from optix_tricks.dynamics import taylor_model
from optix_tricks.reports import plot_taylor_model


def model(order=2, loss=lambda w: jnp.sum(jnp.cos(w) - w**3)):
    return taylor_model(loss, jnp.zeros(2), jnp.array([1.0, 0.0]), order=order)


@pytest.mark.parametrize("dark", [False, True])
def test_a_panel_a_direction_with_the_loss_and_a_line_a_degree(dark):
    given = {"first": model(), "second": model(order=4)}
    figure = plot_taylor_model(given, dark=dark)
    degrees = [["linear", "quadratic"], ["linear", "quadratic", "cubic"]]
    for ax, (name, shown), names in zip(figure.axes, given.items(), degrees, strict=True):
        lines = {line.get_gid(): line for line in ax.lines if line.get_gid()}
        assert list(lines) == [*names, "loss"]
        np.testing.assert_array_equal(lines["loss"].get_ydata(), shown.loss)
        for line, values in zip(lines.values(), shown.models[: len(names)], strict=False):
            np.testing.assert_array_equal(line.get_xdata(), shown.ts)
            np.testing.assert_array_equal(line.get_ydata(), values)
        assert ax.get_title(loc="left") == name
        assert ax.texts[0].get_text() == "curvature -1"
        (strip,) = ax.patches
        np.testing.assert_allclose(2 * shown.radius[1], strip.get_width(), rtol=1e-6)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 4


def test_a_single_degree_a_constant_and_nan_are_drawn_and_saved_as_a_png():
    given = {
        "linear": model(order=1),
        "constant": model(loss=lambda w: 0 * w[0] + 2),
        "broken": model(loss=lambda w: w[0] * jnp.nan),
    }
    file = io.BytesIO()
    plot_taylor_model(given).savefig(file, dpi=40)
    with Image.open(file) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize("count", [0, 5])
def test_too_few_or_too_many_directions_raise(count):
    with pytest.raises(ValueError, match=f"1 to 4 directions, got {count}"):
        plot_taylor_model({str(i): model() for i in range(count)})


def test_the_axes_span_the_loss_and_the_steps():
    shown = model(loss=lambda w: 2 + 3 * w[0])
    (ax,) = plot_taylor_model({"slope": shown}).axes
    ts = np.sort(shown.ts)
    assert ax.get_xlim() == (ts[0], ts[-1])
    low, high = float(np.min(shown.loss)), float(np.max(shown.loss))
    bottom, top = ax.get_ylim()
    assert low - bottom == pytest.approx(0.3 * (high - low), rel=1e-4)
    assert top - high == pytest.approx(0.3 * (high - low), rel=1e-4)
    assert ax.get_ylabel() == "loss"
    for level in (2.0, 0.0):  # a constant has room too
        (flat,) = plot_taylor_model(
            {"": model(loss=lambda w, c=level: 0 * w[0] + c)}
        ).axes
        bottom, top = flat.get_ylim()
        assert bottom < level < top
    [point] = [line for line in ax.lines if not line.get_gid()]
    assert (*point.get_xdata(), *point.get_ydata()) == (0, 2)
    assert not plot_taylor_model({"": model(order=1)}).axes[0].patches


def test_four_directions_are_drawn_beside_each_other():
    given = dict.fromkeys("abcd", model())
    assert len(plot_taylor_model(given).axes) == 4
