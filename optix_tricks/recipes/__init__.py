"""Recipes: each module is one runnable result: a base setup and a list of tricks.

A recipe has `setup()`, which returns a `tricks.Setup`. It may have `DATASET`, the name of
a data set, or `data()`, which makes one; `CLAIM`; and `TRICKS` of its own.
"""

from optix_tricks._arguments import check_arguments
from optix_tricks.recipes._claim import Claim
from optix_tricks.recipes._recipe import Recipe
from optix_tricks.recipes._registry import RECIPES, find_recipe
from optix_tricks.recipes._run import Run, new_run, reconfigure

__all__ = ["RECIPES", "Claim", "Recipe", "Run", "find_recipe", "new_run", "reconfigure"]

check_arguments(__name__)
