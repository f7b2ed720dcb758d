"""The candidate networks and the recipes they are fitted by.

Each network is a function whose docstring gives its parameters, source and measured accuracy.
Accuracies "here" are on FER-2013's validation images, from EXPERIMENTS.md. The reference's
(Cue-Cetera 2023) are on EMOTIC and FER-2013 together, so the two do not compare.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from models.errors import DataError
from models.release.release import Release
from trainer.augment import Augmentation

Shape = tuple[int | None, int | None, int]
"""Height, width, channels; None = any, for a network that is all convolutions."""


@dataclass(frozen=True)
class Candidate:
    """A network and the recipe it is fitted by.

    Attributes:
        build: builds the network for an input shape and a number of classes.
        optimizer: makes the optimizer for a number of batches per epoch, which its learning rate
            schedule may need.
        patience: fitting stops after this many epochs without a better one.
        pretrained: whether the network starts with MobileNetV2's layers, for which there are
            weights from ImageNet.
        head_epochs: if the layers are pretrained, the first epochs that fit only the last layer.
        label_smoothing: share of each target that is spread over the labels in the training data;
            soft targets are not smoothed.
        averaging: decay per batch of the moving average of the weights, which is then validated and
            released in their place; 0 turns it off.
    """

    name: str
    build: Callable[[Shape, int], keras.Model]
    optimizer: Callable[[int], keras.Optimizer]
    epochs: int
    patience: int
    batch_size: int = 32
    pretrained: bool = False
    head_epochs: int = 0
    augmentation: Augmentation | None = None
    label_smoothing: float = 0.0
    averaging: float = 0.0


def model1(input_shape: Shape, num_classes: int) -> keras.Model:
    """Three dense layers: the baseline without convolutions.

    Parameters: 334,162 at (48, 48, 3) and 28 classes.
    Source: Cue-Cetera (2023), without the MobileNetV2 that it built beside them and never used.
    Accuracy: 35.0 % in the reference, 39.7 % here.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(),
            layers.Dense(48, activation="relu"),
            layers.Dense(30, activation="relu"),
            _scores(num_classes),
        ],
        name="model1",
    )


def model2(input_shape: Shape, num_classes: int) -> keras.Model:
    """A frozen MobileNetV2, and one dense layer on the mean of its features.

    Parameters: 2,293,852 at 28 classes, of which 35,868 are trained.
    Source: Cue-Cetera (2023), which had no softmax after the last layer; it is added here.
    Accuracy: 8.2 % in the reference; 24.9 % here with random instead of ImageNet's weights.
    """
    inputs, features = _mobilenetv2(input_shape)
    backbone = keras.Model(inputs, features)
    backbone.trainable = False

    x = layers.GlobalAveragePooling2D()(features)
    return keras.Model(inputs, _scores(num_classes)(x), name="model2")


def model3(input_shape: Shape, num_classes: int) -> keras.Model:
    """Eight 3x3 convolutions and three dense layers: the reference's best network.

    Parameters: 3,265,372 at (48, 48, 3) and 28 classes, of which 2,816 are not trainable; 334
    million multiply-adds per image.
    Source: Cue-Cetera (2023).
    Accuracy: 50.14 % in the reference, 61.8 % here.
    """
    return keras.Sequential(
        [keras.Input(input_shape), *_model3_layers(), _scores(num_classes)], name="model3"
    )


def model3_long(input_shape: Shape, num_classes: int) -> keras.Model:
    """Model 3, fitted at a higher learning rate for more epochs.

    Parameters: as Model 3.
    Source: Cue-Cetera (2023), as its authors planned to continue.
    Accuracy: 64.2 % here.
    """
    return keras.Sequential(
        [keras.Input(input_shape), *_model3_layers(), _scores(num_classes)], name="model3_long"
    )


def model4(input_shape: Shape, num_classes: int) -> keras.Model:
    """MobileNetV2, trained in full, and one dense layer on the maximum of its features.

    Parameters: 2,293,852 at 28 classes.
    Source: Cue-Cetera (2023).
    Accuracy: 12 % in the reference; 48.5 % here with random instead of ImageNet's weights.
    """
    inputs, features = _mobilenetv2(input_shape)
    x = layers.GlobalMaxPooling2D()(features)
    scores = _scores(
        num_classes,
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(0.01),
    )
    return keras.Model(inputs, scores(x), name="model4")


def model5(input_shape: Shape, num_classes: int) -> keras.Model:
    """Model 3 with two more dense layers.

    Parameters: 3,790,940 at (48, 48, 3) and 28 classes.
    Source: Cue-Cetera (2023).
    Accuracy: 16.9 % in the reference, 24.9 % here; its learning rate makes it diverge.
    """
    head = [layers.Dense(1024, activation="relu"), layers.Dense(256, activation="relu")]
    return keras.Sequential(
        [keras.Input(input_shape), *_model3_layers(), *head, _scores(num_classes)], name="model5"
    )


def mobilenetv2(input_shape: Shape, num_classes: int) -> keras.Model:
    """MobileNetV2: first only its last layer is fitted, then all of them at a low learning rate.

    Parameters: 2,293,852 at 28 classes; 17 million multiply-adds per image of 48x48.
    Source: Sandler et al. 2018, arXiv:1801.04381; the reference's authors planned to fit it so.
    Accuracy: 49.3 % here with random instead of ImageNet's weights.
    """
    inputs, features = _mobilenetv2(input_shape)
    x = layers.GlobalAveragePooling2D()(features)
    model = keras.Model(inputs, _scores(num_classes)(x), name="mobilenetv2")

    # With Keras' momentum of 0.999, the statistics lag epochs behind weights that change this fast.
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.99
    return model


def cuemill1(input_shape: Shape, num_classes: int) -> keras.Model:
    """A residual network of five blocks for small faces: Cuemill's own.

    Parameters: 2,695,420 at 28 classes; 186 million multiply-adds per image of 48x48.
    Source: blocks as in He et al. 2016, arXiv:1512.03385.
    Accuracy: 65.8 % here; 67.6 % after continuing with the recipe `cuemill1_tune`.
    """
    inputs = keras.Input(input_shape)
    x = layers.ReLU()(_convolve(inputs, 32, 3))
    for filters, strides in ((64, 2), (128, 2), (128, 1), (256, 2), (256, 1)):
        x = _add_residual_block(x, filters, strides)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, _scores(num_classes)(x), name="cuemill1")


# --- Parts of the networks ---


def _scores(num_classes: int, **options: Any) -> keras.Layer:
    """The last layer. In mixed precision it stays float32, or small scores would round to 0."""
    return layers.Dense(num_classes, activation="softmax", dtype="float32", **options)


def _mobilenetv2(input_shape: Shape) -> tuple[Any, Any]:
    """MobileNetV2's input and features. Without weights, so that building downloads nothing."""
    inputs = keras.Input(input_shape)
    backbone = keras.applications.MobileNetV2(input_tensor=inputs, include_top=False, weights=None)
    return inputs, backbone.output


def _model3_layers() -> list[keras.Layer]:
    """Model 3 between its input and its scores."""
    return [
        *_model3_block(64, 64, dropout=0.3, l2=0.0),
        *_model3_block(128, 64, dropout=0.4),
        *_model3_block(256, 256, dropout=0.5),
        *_model3_block(512, 64, dropout=0.3),
        layers.Flatten(),
        layers.Dense(1024, activation="relu"),
        layers.Dropout(0.4),
        layers.Dense(256, activation="relu"),
    ]


def _model3_block(first: int, second: int, dropout: float, l2: float = 0.01) -> list[keras.Layer]:
    """Two convolutions with these numbers of filters, pooling and dropout."""
    block: list[keras.Layer] = []
    for filters in (first, second):
        penalty = keras.regularizers.L2(l2) if l2 else None
        convolution = layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_regularizer=penalty
        )
        block += [convolution, layers.BatchNormalization()]
    return [*block, layers.MaxPooling2D(2), layers.Dropout(dropout)]


def _convolve(x: Any, filters: int, size: int, strides: int = 1) -> Any:
    """Convolution and batch normalization."""
    convolution = layers.Conv2D(
        filters, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal"
    )
    return layers.BatchNormalization()(convolution(x))


def _add_residual_block(x: Any, filters: int, strides: int) -> Any:
    """Two convolutions, whose result is added to the block's input."""
    y = layers.ReLU()(_convolve(x, filters, 3, strides))
    y = _convolve(y, filters, 3)

    # Where the shape changes, the input needs a projection to be added.
    if strides != 1 or x.shape[-1] != filters:
        x = _convolve(x, filters, 1, strides)
    return layers.ReLU()(layers.Add()([x, y]))


# --- Initial weights ---


def load_pretrained(model: keras.Model, weights: str) -> None:
    """Gives MobileNetV2's layers in a candidate's network their pretrained weights.

    Raises:
        DataError: as `fetch_pretrained`.
    """
    for layer in fetch_pretrained(weights):
        model.get_layer(layer.name).set_weights(layer.get_weights())


def fetch_pretrained(weights: str) -> list[keras.Layer]:
    """MobileNetV2's layers with weights: `imagenet`, a weights file of Keras, or `none`: no layers.

    Raises:
        DataError: the weights cannot be downloaded, or the file is not of MobileNetV2 without its
            top.
    """
    if weights == "none":
        return []

    try:
        source = keras.applications.MobileNetV2(
            input_shape=(224, 224, 3),
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
        )
        if weights != "imagenet":
            source.load_weights(weights)
    # Keras raises a bare Exception if the download fails, and various others for a wrong file.
    except Exception as error:
        raise DataError(
            f"Cannot load MobileNetV2's weights ({weights}): {str(error).rstrip('.')}. Download "
            "Keras' file for it without the top on another machine and pass it as --weights FILE, "
            "or train without pretrained weights: --weights none."
        ) from error

    pretrained_layers: list[keras.Layer] = source.layers[1:]
    return pretrained_layers


def start_from(model: keras.Model, release: Release) -> None:
    """Gives a network the weights of a release of the same network.

    Raises:
        DataError: the release is of a different network.
    """
    # By the order of the layers, as in `export`. Names do not match: Keras numbers layers on with
    # every network that a process builds.
    variables = [variable for layer in model.layers for variable in layer.weights]
    arrays = list(release.weights.values())
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in arrays]:
        raise DataError(
            f"{release.name} is not a {model.name} network, so {model.name} cannot start from its "
            "weights."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def multiply_adds(model: keras.Model) -> int:
    """The number of multiplications by kernels for one image of the network's input size."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            total += int(np.prod(layer.kernel.shape))
        elif isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
            _, height, width, _ = layer.output.shape
            total += height * width * int(np.prod(layer.kernel.shape))
    return total


# --- Optimizers ---


def _cosine(
    epochs: int, steps: int, peak: float
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A rate that rises to its peak in a twentieth of the steps, then falls as a cosine to zero."""
    warmup = max(1, epochs * steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        peak / 100, epochs * steps - warmup, alpha=0.0, warmup_target=peak, warmup_steps=warmup
    )


def _constant(
    optimizer: type[keras.Optimizer], rate: float = 1e-3
) -> Callable[[int], keras.Optimizer]:
    """A constant rate, as in the reference."""
    return lambda _steps: optimizer(rate)


def _adam(epochs: int, peak: float) -> Callable[[int], keras.Optimizer]:
    return lambda steps: keras.optimizers.Adam(_cosine(epochs, steps, peak))


def _sgd(epochs: int, peak: float, weight_decay: float) -> Callable[[int], keras.Optimizer]:
    """SGD with Nesterov momentum.

    Keras applies weight decay outside the momentum: 5e-3 here corresponds to 5e-4 in other
    frameworks.
    """
    return lambda steps: keras.optimizers.SGD(
        _cosine(epochs, steps, peak), momentum=0.9, nesterov=True, weight_decay=weight_decay
    )


CANDIDATES = {
    candidate.name: candidate
    for candidate in (
        Candidate("model1", model1, _constant(keras.optimizers.Nadam), epochs=25, patience=10),
        Candidate(
            "model2",
            model2,
            _constant(keras.optimizers.RMSprop, 1e-4),
            epochs=25,
            patience=10,
            pretrained=True,
        ),
        Candidate("model3", model3, _constant(keras.optimizers.Adam, 1e-4), epochs=25, patience=10),
        Candidate(
            "model4",
            model4,
            _constant(keras.optimizers.Adam, 0.02),
            epochs=50,
            patience=20,
            pretrained=True,
        ),
        Candidate("model5", model5, _constant(keras.optimizers.Adam, 0.03), epochs=10, patience=5),
        Candidate(
            "model3_long",
            model3_long,
            _adam(epochs=60, peak=5e-4),
            epochs=60,
            patience=20,
            batch_size=64,
        ),
        Candidate(
            "mobilenetv2",
            mobilenetv2,
            _adam(epochs=30, peak=3e-4),
            epochs=33,
            patience=10,
            batch_size=64,
            pretrained=True,
            head_epochs=3,
            augmentation=Augmentation(),
            label_smoothing=0.1,
        ),
        Candidate(
            "cuemill1",
            cuemill1,
            _sgd(epochs=54, peak=0.1, weight_decay=5e-3),
            epochs=54,
            patience=54,
            batch_size=128,
            augmentation=Augmentation(sizes=((0.6, 32),), sharp=0.1),
            label_smoothing=0.1,
            averaging=0.998,
        ),
        Candidate(
            # Continues from a fitted cuemill1 (--start), at a low rate and with sharp images.
            "cuemill1_tune",
            cuemill1,
            _sgd(epochs=8, peak=0.02, weight_decay=5e-3),
            epochs=8,
            patience=8,
            batch_size=128,
            augmentation=Augmentation(contrast=0.15, brightness=12.0, sharp=1.0),
            label_smoothing=0.1,
            averaging=0.998,
        ),
        Candidate(
            # Continues likewise, with faces as careless boxes, bad light and small files show them.
            # Not fitted yet (EXPERIMENTS.md).
            "cuemill1_robust",
            cuemill1,
            _sgd(epochs=3, peak=0.01, weight_decay=5e-3),
            epochs=3,
            patience=3,
            batch_size=128,
            augmentation=Augmentation(
                degrees=15.0,
                contrast=0.15,
                brightness=12.0,
                gain=0.5,
                still=0.5,
                coarse=0.3,
                compress=0.15,
                mixup=0.0,
            ),
            label_smoothing=0.1,
            averaging=0.998,
        ),
    )
}
