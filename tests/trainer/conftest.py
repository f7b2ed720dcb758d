"""Keras collects garbage each time it forgets a network; what TensorFlow loads is never garbage."""

import gc

import keras  # noqa: F401

# Otherwise each of those collections walks TensorFlow's objects: a third of the tests' time.
gc.collect()
gc.freeze()
