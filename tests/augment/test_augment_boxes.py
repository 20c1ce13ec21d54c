"""Rectangles: which of several fits, where it may lie, and what it covers."""

import jax
import jax.numpy as jnp
import numpy as np

from optix_tricks.augment._boxes import first_that_fits, inside

HEIGHT, WIDTH = 5, 7


def test_the_first_that_fits_is_taken_rounded():
    sides = [
        [(0.4, 3.0), (0.6, 1.4), (2.0, 2.0)],  # less than a pixel is none
        [(5.0, 7.6), (5.6, 7.0), (5.4, 7.4)],  # the whole image is the largest
        [(3.0, 2.0), (1.0, 1.0), (1.0, 1.0)],
        [(0.0, 0.0), (6.0, 1.0), (1.0, 8.0)],  # none
    ]
    boxes = first_that_fits(jax.random.key(0), jnp.array(sides), HEIGHT, WIDTH)
    np.testing.assert_array_equal(boxes[:, 2:], [(1, 1), (5, 7), (3, 2), (0, 0)])
    np.testing.assert_array_equal(boxes[1, :2], [0, 0])


def test_every_place_inside_of_the_image_is_taken():
    sides = jnp.broadcast_to(jnp.array([[4.0, 5.0]]), (300, 1, 2))
    boxes = np.asarray(first_that_fits(jax.random.key(1), sides, HEIGHT, WIDTH))
    places = {(int(top), int(left)) for top, left in boxes[:, :2]}
    assert places == {(top, left) for top in range(2) for left in range(3)}


def test_a_box_covers_its_rows_and_columns_as_far_as_the_image_goes():
    boxes = np.array([(1, 2, 3, 4), (-2, -1, 4, 3), (4, 6, 9, 9), (2, 2, 0, 5)])
    got = inside(jnp.zeros((4, HEIGHT, WIDTH, 3)), jnp.asarray(boxes))
    assert got.shape == (4, HEIGHT, WIDTH, 1)
    want = np.zeros((4, HEIGHT, WIDTH), bool)
    want[0, 1:4, 2:6] = want[1, 0:2, 0:2] = want[2, 4:, 6:] = True
    np.testing.assert_array_equal(got[..., 0], want)
