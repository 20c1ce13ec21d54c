"""What is read from a docstring, against one whose parts are told by hand."""

from optix_tricks.tricks import card, find_trick
from optix_tricks.tricks._docstring import read

LINK = r"""Shrink each array.

.. math::
    u = g / c, \qquad
    c > 1

for every array. It costs no sleep. Helps large ones, and what
hurts; does little for small ones. Hurts zeros (none is left.) Hurts, too, signs.

Beside others: before `adam`. Cost is no matter there.

Args:
  factor: :math:`c` > 1, or
    a schedule.
  **options: the others.

Returns:
  A transformation; no slots; one
  division per element.

References:
  First, On shrinking, 1951.
  Second, 1952.
"""
FUNCTION = """Shrink it.

    out = x / 2    for x > 0

    out = x        elsewhere

Even numbers stay whole.

Cost: free. Source of nothing.

Source: "Shrinking", First, 1951,
section 2.
"""


def test_of_a_transformation():
    doc = read(LINK)
    assert doc.line == "Shrink each array."
    block = ".. math::\n    u = g / c, \\qquad\n    c > 1"
    assert doc.equations == (block, "for every array.")
    assert doc.told == {
        "Helps": "Helps large ones, and what hurts.",
        "Does little": "Does little for small ones.",
        "Hurts": "Hurts zeros (none is left.) Hurts, too, signs.",
        "Beside others": "before `adam`. Cost is no matter there.",
        "Cost": "no slots; one division per element.",
        "Source": "First, On shrinking, 1951. Second, 1952.",
    }
    assert doc.arguments == {
        "factor": ":math:`c` > 1, or a schedule.",
        "options": "the others.",
    }


def test_of_a_function():
    doc = read(FUNCTION)
    assert doc.equations == (
        "    out = x / 2    for x > 0",
        "    out = x        elsewhere",
    )
    assert doc.told == {
        "Cost": "free. Source of nothing.",
        "Source": '"Shrinking", First, 1951, section 2.',
    }
    assert doc.arguments == {}


def test_what_a_card_says_to_type_is_quoted_for_a_shell():
    lines = card(find_trick("freeze")).splitlines()
    said = "--with 'freeze=^(?!head)' or tricks.freeze('^(?!head)')"
    assert f"take      {said}" in lines
