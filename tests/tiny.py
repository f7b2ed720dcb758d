"""A small release for tests."""

import numpy as np

from models.labels import EMOTIONS
from models.pickles import Release
from models.preprocessing import Preprocessing


def tiny_release() -> Release:
    random = np.random.default_rng(0)
    network = [
        {"op": "flatten", "name": "flatten", "inputs": ["input"], "weights": [], "attributes": {}},
        {
            "op": "dense",
            "name": "dense",
            "inputs": ["flatten"],
            "weights": ["dense/kernel", "dense/bias"],
            "attributes": {},
        },
        {"op": "softmax", "name": "softmax", "inputs": ["dense"], "weights": [], "attributes": {}},
    ]
    weights = {
        "dense/kernel": random.normal(0, 0.05, (48 * 48 * 3, 28)).astype(np.float32),
        "dense/bias": np.zeros(28, np.float32),
    }
    return Release("tiny", EMOTIONS, EMOTIONS, Preprocessing(), network, weights, "{}")
