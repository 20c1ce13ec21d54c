"""The images on the page are those of the file, with what they are and what was told."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from test_report_page import html_of, make_rows, write_run

from optix_tricks.reports import ReportError, read_run
from optix_tricks.reports._examples import examples

IMAGES = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3)).astype(np.uint8)
FOUND = {
    "images": IMAGES,
    "is": np.arange(20) % 2,
    "told": np.arange(20) % 3 % 2,
    "loss": np.linspace(3, 0, 20),
}


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path, make_rows(1))


def test_each_image_has_its_classes_and_its_loss(run):
    np.savez(run / "examples.npz", **FOUND)
    (run / "confusion.json").write_text(
        '{"classes": ["<a>", "b"], "counts": [[1,0],[0,1]]}'
    )
    html = html_of(run)
    figures = re.findall(r"<figure[^>]*><img[^>]*><figcaption>.*?</figure>", html)
    assert len(figures) == 20
    assert "is &lt;a&gt;, told &lt;a&gt;<br>loss 3<" in figures[0]
    assert "is b, told &lt;a&gt;<br>loss 2.53<" in figures[3]
    assert figures[3].startswith("<figure class=wrong>")
    pixels = base64.b64decode(re.search(r"base64,([^\"]*)", figures[3])[1])
    with Image.open(io.BytesIO(pixels)) as image:
        np.testing.assert_array_equal(np.asarray(image), IMAGES[3])
    worst, best = (
        html.index(f"Test images of the {x} loss") for x in ("highest", "lowest")
    )
    assert worst < html.index(figures[11]) < best < html.index(figures[12])


def test_large_images_are_made_smaller_and_grey_ones_stay_grey(run):
    grey = np.zeros((2, 300, 300, 1), np.uint8)
    np.savez(run / "examples.npz", **{name: x[:2] for name, x in FOUND.items()} | {
        "images": grey
    })  # fmt: skip
    found = re.findall(r"base64,([^\"]*)", examples(read_run(run)))
    with Image.open(io.BytesIO(base64.b64decode(found[0]))) as image:
        assert (image.size, image.mode) == ((112, 112), "L")


@pytest.mark.parametrize(
    "broken",
    [
        {"images": IMAGES.astype(float)},
        {"images": IMAGES[..., :2]},
        {"told": FOUND["told"][:3]},
        {"is": np.ones(20)},
        {"loss": np.array([{}] * 20)},
    ],
)
def test_broken_ones_are_named(run, broken):
    np.savez(run / "examples.npz", **FOUND | broken)
    with pytest.raises(ReportError, match=r"examples\.npz lacks"):
        read_run(run)


def test_bytes_that_are_no_file_of_arrays_are_named(run):
    (run / "examples.npz").write_bytes(b"PK\3\4 and nothing")
    with pytest.raises(ReportError, match=r"examples\.npz lacks"):
        read_run(run)
