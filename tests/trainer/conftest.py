"""Keras collects garbage each time it forgets a network; what TensorFlow loads is never garbage."""

import gc

import keras  # noqa: F401

gc.collect()
gc.freeze()  # Or each of those collections would walk TensorFlow's objects: a third of the tests' time.
