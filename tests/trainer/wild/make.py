"""Writes the genuine pickles that the tests of `trainer/wild.py` read. Run by hand, once in each environment:

    python3.10 -m venv env && env/bin/pip install tensorflow-cpu==2.11.1 'numpy<2' joblib   # And one of 2.12.1.
    env/bin/python make.py keras211       # keras212 in the other.
    env/bin/python make.py functional211  # functional212 in the other.
    env/bin/python make.py windows211     # As Windows joins the names in the archive.
    .venv/bin/python make.py keras3       # In the project's own.

Each is a small network of Model 3's kinds of layers, or MobileNetV2's (functional), fitted for a few batches so that
nothing is at its initial value, compiled, and dumped as the reference did it. Beside it: what it gives for `pictures`.
"""

import ntpath
import pickle
import posixpath
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

layers = tf.keras.layers
HERE = Path(__file__).parent


def pictures(count: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 (count, 48, 48, 3) in [-1, 1], the same with every version of NumPy, and labels: how light each is."""
    random = np.random.RandomState(seed)
    light = random.uniform(-0.7, 0.7, (count, 1, 1, 1))
    images = light + random.uniform(-0.3, 0.3, (count, 48, 48, 3))
    return images.astype(np.float32), (light.ravel() * 20 + 14).astype(int)


def build(name: str) -> tf.keras.Model:
    return build_functional() if name.startswith("functional") else build_sequential()


def build_functional() -> tf.keras.Model:
    """With each kind of layer that MobileNetV2 has, and two branches that are added."""
    images = tf.keras.Input((48, 48, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(images)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
    y = layers.DepthwiseConv2D(3, strides=2, padding="valid", use_bias=False)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    y = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(y))
    z = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(8, 1, use_bias=False)(y))
    z = layers.GlobalAveragePooling2D()(layers.Add()([y, z]))
    return tf.keras.Model(images, layers.Dense(28, activation="softmax")(z))


def build_sequential() -> tf.keras.Model:
    regularizer = tf.keras.regularizers.l2()
    return tf.keras.Sequential(
        [
            layers.Conv2D(4, (3, 3), padding="same", activation="relu", input_shape=(48, 48, 3)),
            layers.BatchNormalization(),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Dropout(0.3),
            layers.Conv2D(6, (3, 3), padding="same", activation="relu", kernel_regularizer=regularizer),
            layers.BatchNormalization(),
            layers.MaxPooling2D(pool_size=(4, 4)),
            layers.Flatten(),
            layers.Dense(12, activation="relu"),
            layers.Dropout(0.4),
            layers.Dense(28, activation="softmax"),
        ]
    )


def join_as_windows(path: str, *paths: str) -> str:
    """Real paths stay this system's; names within the archive get backslashes, as `os.path.join` gives them there."""
    return str((posixpath if str(path).startswith("/") else ntpath).join(path, *paths))


def main(name: str) -> None:
    if name.startswith("windows"):
        from keras.saving.experimental import saving_lib

        saving_lib.tf.io.gfile.join = join_as_windows
    tf.keras.utils.set_random_seed(0)
    model = build(name)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(5e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(*pictures(256, seed=1), epochs=30, verbose=0)
    if name == "keras3":
        (HERE / f"{name}.pkl").write_bytes(pickle.dumps(model))
    else:
        import joblib

        joblib.dump(model, HERE / f"{name}.pkl")
    np.save(HERE / f"{name}.npy", model.predict(pictures()[0], verbose=0))


if __name__ == "__main__":
    main(sys.argv[1])
