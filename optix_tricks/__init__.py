"""The tricks that make neural networks train, in JAX."""

__version__ = "0.1.0"
