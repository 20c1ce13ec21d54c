"""The figure of schedules shows the values that a run uses."""

import io

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from optix_tricks.reports import plot_schedule
from optix_tricks.schedules import onecycle_momentum_schedule, onecycle_schedule


def drawn(ax) -> dict:
    for line in ax.lines:
        np.testing.assert_array_equal(line.get_xdata(), np.arange(len(line.get_xdata())))
    return {line.get_gid(): line.get_ydata() for line in ax.lines}


def test_one_schedule_is_one_panel_of_its_values():
    schedule = onecycle_schedule(50, 0.7)
    (ax,) = plot_schedule(schedule, 50).axes
    np.testing.assert_allclose(drawn(ax)["value"], schedule(np.arange(50)), rtol=1e-6)
    assert ax.get_xlabel() == "step"
    assert ax.get_legend() is None


@pytest.mark.parametrize("dark", [False, True])
def test_rate_and_momentum_stand_under_each_other(dark):
    rate, momentum = onecycle_schedule(99, 0.7), onecycle_momentum_schedule(99)
    figure = plot_schedule({"learning rate": rate, "momentum": momentum}, 99, dark=dark)
    above, below = figure.axes
    assert above.get_title(loc="left") == "Learning rate"
    assert below.get_title(loc="left") == "Momentum"
    counts = np.arange(99)
    np.testing.assert_allclose(drawn(above)["learning rate"], rate(counts), rtol=1e-6)
    np.testing.assert_allclose(drawn(below)["momentum"], momentum(counts), rtol=1e-6)
    assert above.get_xlim() == below.get_xlim()
    assert above.get_xlabel() == ""


def test_schedules_under_one_name_share_its_panel():
    pieces = {"cosine": optax.cosine_decay_schedule(1.0, 60), "half": lambda step: 0.5}
    (ax,) = plot_schedule({"decay": pieces}, 60).axes
    assert list(drawn(ax)) == ["cosine", "half"]
    np.testing.assert_array_equal(drawn(ax)["half"], np.full(60, 0.5, np.float32))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cosine", "half"]
    colors = {line.get_color() for line in ax.lines}
    assert len(colors) == 2


def test_any_function_that_can_be_traced_is_drawn():
    theirs = optax.piecewise_interpolate_schedule("linear", 1.0, {4: 0.1})  # scalars only
    (ax,) = plot_schedule(theirs, 8).axes
    np.testing.assert_allclose(drawn(ax)["value"][4:], 0.1, rtol=1e-6)
    (ax,) = plot_schedule(lambda step: 1 / jnp.sqrt(step + 1.0), 1).axes
    assert ax.lines[0].get_marker() == "o"


def test_is_saved_as_a_png():
    file = io.BytesIO()
    plot_schedule(optax.cosine_decay_schedule(1.0, 60), 60).savefig(file, dpi=60)
    with Image.open(file) as image:
        assert image.format == "PNG"
        assert image.width == 540


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        plot_schedule(lambda step: 1.0, 0)
    with pytest.raises(ValueError, match="schedules must name at least one schedule"):
        plot_schedule({}, 10)
    five = {str(i): lambda step: 1.0 for i in range(5)}
    with pytest.raises(ValueError, match="one to 4 schedules, got 5 in 'rate'"):
        plot_schedule({"rate": five}, 10)


def test_four_schedules_share_a_panel_and_few_steps_are_marked():
    four = {str(i): lambda step: 1.0 for i in range(4)}
    for steps, marker in ((40, "o"), (41, "None")):
        (ax,) = plot_schedule({"rate": four}, steps).axes
        assert {line.get_marker() for line in ax.lines} == {marker}
        assert len(ax.lines) == 4
