"""The candidate networks, by name: functions whose docstrings give parameters and source; EXPERIMENTS.md has scores."""

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
        build: makes the network for an input's shape and a number of classes.
        optimizer: makes it for a number of batches an epoch, which its schedule may follow.
        patience: fitting stops after so many epochs without a better one.
        pretrained: whether it begins with MobileNetV2's layers, which have weights for ImageNet to start from.
        head_epochs: so many epochs at first fit the last layer alone, if the others are pretrained.
        label_smoothing: the share of each target that is spread over the labels that the training data has, where
            targets are not soft already.
        averaging: the decay, by batch, of the moving average of the weights that is validated and kept; 0 = none.
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


def _scores(num_classes: int, **options: Any) -> keras.Layer:
    """The softmax stays in float32 when the rest runs in mixed precision, or small scores round to nothing."""
    return layers.Dense(num_classes, activation="softmax", dtype="float32", **options)


def model1(input_shape: Shape, num_classes: int) -> keras.Model:
    """Three dense layers: what can be had without looking for shapes.

    334,162 parameters at (48, 48, 3) and 28 classes. Source: Cue-Cetera (2023), 35.0 % at best. The MobileNetV2 that
    was built beside it, and not used, is left out.
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
    """MobileNetV2 as it is, and one dense layer on the mean of its features.

    2,293,852 parameters at 28 classes, of which 35,868 are trained. Source: Cue-Cetera (2023), 8.2 %; its last layer
    had no softmax, a mistake that is mended here.
    """
    inputs, features = _mobilenetv2(input_shape)
    network = keras.Model(inputs, features)
    network.trainable = False
    outputs = _scores(num_classes)(layers.GlobalAveragePooling2D()(features))
    return keras.Model(inputs, outputs, name="model2")


def model3(input_shape: Shape, num_classes: int) -> keras.Model:
    """The winner of the reference's experiment: eight 3x3 convolutions and three dense layers.

    3,265,372 parameters at (48, 48, 3) and 28 classes, of which 2,816 are not trainable; 334 million multiply-adds an
    image. Source: Cue-Cetera (2023), whose validation accuracy on EMOTIC and FER-2013 together was 50.14 %.
    """
    return keras.Sequential(
        [keras.Input(input_shape), *_model3_trunk(), _scores(num_classes)], name="model3"
    )


def model3_long(input_shape: Shape, num_classes: int) -> keras.Model:
    """Model 3 fitted at a higher rate for more epochs, as its authors meant to do next (Cue-Cetera 2023)."""
    return keras.Sequential(
        [keras.Input(input_shape), *_model3_trunk(), _scores(num_classes)], name="model3_long"
    )


def model4(input_shape: Shape, num_classes: int) -> keras.Model:
    """MobileNetV2 with all its layers trained, and one dense layer on the highest of its features.

    2,293,852 parameters at 28 classes. Source: Cue-Cetera (2023), 12 %.
    """
    inputs, features = _mobilenetv2(input_shape)
    x = layers.GlobalMaxPooling2D()(features)
    outputs = _scores(
        num_classes, kernel_initializer="he_normal", kernel_regularizer=keras.regularizers.L2(0.01)
    )(x)
    return keras.Model(inputs, outputs, name="model4")


def model5(input_shape: Shape, num_classes: int) -> keras.Model:
    """Model 3 with two more dense layers.

    3,790,940 parameters at (48, 48, 3) and 28 classes. Source: Cue-Cetera (2023), 16.9 %.
    """
    more = [layers.Dense(1024, activation="relu"), layers.Dense(256, activation="relu")]
    return keras.Sequential(
        [keras.Input(input_shape), *_model3_trunk(), *more, _scores(num_classes)], name="model5"
    )


def mobilenetv2(input_shape: Shape, num_classes: int) -> keras.Model:
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), its last layer fitted first, then all of them at a low rate.

    2,293,852 parameters at 28 classes; 17 million multiply-adds an image of 48x48. The reference's authors meant to.
    """
    inputs, features = _mobilenetv2(input_shape)
    outputs = _scores(num_classes)(layers.GlobalAveragePooling2D()(features))
    model = keras.Model(inputs, outputs, name="mobilenetv2")
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = (
                0.99  # Keras' 0.999 for it lags epochs behind weights that change as fast as these.
            )
    return model


def _mobilenetv2(input_shape: Shape) -> tuple[Any, Any]:
    """Its input and its features, without any weights: building never reaches for the network."""
    inputs = keras.Input(input_shape)
    return inputs, keras.applications.MobileNetV2(
        input_tensor=inputs, include_top=False, weights=None
    ).output


def _model3_trunk() -> list[keras.Layer]:
    """All of Model 3 but its input and its scores."""

    def convolution(filters: int, l2: bool) -> list[Any]:
        regularizer = keras.regularizers.L2(0.01) if l2 else None
        return [
            layers.Conv2D(
                filters, 3, padding="same", activation="relu", kernel_regularizer=regularizer
            ),
            layers.BatchNormalization(),
        ]

    def block(first: int, second: int, dropout: float, l2: bool = True) -> list[Any]:
        return [
            *convolution(first, l2),
            *convolution(second, l2),
            layers.MaxPooling2D(2),
            layers.Dropout(dropout),
        ]

    return [
        *block(64, 64, 0.3, l2=False),
        *block(128, 64, 0.4),
        *block(256, 256, 0.5),
        *block(512, 64, 0.3),
        layers.Flatten(),
        layers.Dense(1024, activation="relu"),
        layers.Dropout(0.4),
        layers.Dense(256, activation="relu"),
    ]


def cuemill1(input_shape: Shape, num_classes: int) -> keras.Model:
    """Our own: a residual network (He et al. 2016, arXiv:1512.03385) with five blocks, for small faces.

    2,695,420 parameters at 28 classes; 186 million multiply-adds an image of 48x48.
    """

    def convolution(x: Any, filters: int, size: int, strides: int = 1) -> Any:
        x = layers.Conv2D(
            filters, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal"
        )(x)
        return layers.BatchNormalization()(x)

    def block(x: Any, filters: int, strides: int) -> Any:
        y = layers.ReLU()(convolution(x, filters, 3, strides))
        y = convolution(y, filters, 3)
        if strides != 1 or x.shape[-1] != filters:
            x = convolution(x, filters, 1, strides)
        return layers.ReLU()(layers.Add()([x, y]))

    inputs = keras.Input(input_shape)
    x = layers.ReLU()(convolution(inputs, 32, 3))
    for filters, strides in ((64, 2), (128, 2), (128, 1), (256, 2), (256, 1)):
        x = block(x, filters, strides)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, _scores(num_classes)(x), name="cuemill1")


def load_pretrained(model: keras.Model, weights: str) -> None:
    """Gives MobileNetV2's layers in a candidate's network their weights, as `pretrained` has them.

    Raises:
        DataError: as there.
    """
    for layer in pretrained(weights):
        model.get_layer(layer.name).set_weights(layer.get_weights())


def pretrained(weights: str) -> list[keras.Layer]:
    """MobileNetV2's layers with weights: `imagenet`, a file of Keras', or `none`, and then no layers.

    Raises:
        DataError: they can't be fetched here, or the file is not of MobileNetV2 without its top.
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
    except (
        Exception
    ) as error:  # Keras raises a bare Exception for a failed download, and others for a wrong file.
        raise DataError(
            f"MobileNetV2's weights ({weights}) can't be had: {str(error).rstrip('.')}. Fetch Keras' file for it "
            "without the top on another machine, give it with --weights FILE, or start from none with --weights none."
        ) from error
    layers_with_weights: list[keras.Layer] = source.layers[1:]
    return layers_with_weights


def start_from(model: keras.Model, release: Release) -> None:
    """Gives a network the weights of a release of the same network, to fit on from.

    Raises:
        DataError: it is of another network.
    """
    # In the order of the layers, as `export` takes them: their names count on with every network a process builds.
    variables = [variable for layer in model.layers for variable in layer.weights]
    if [tuple(variable.shape) for variable in variables] != [
        array.shape for array in release.weights.values()
    ]:
        raise DataError(
            f"{release.name} is another network than {model.name}: it has no weights for it to begin with."
        )
    for variable, array in zip(variables, release.weights.values(), strict=True):
        variable.assign(array)


def multiply_adds(model: keras.Model) -> int:
    """Multiplications by the kernels, for one image of the size that the network takes."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.Dense | layers.Conv2D | layers.DepthwiseConv2D):
            positions = (
                1
                if isinstance(layer, layers.Dense)
                else layer.output.shape[1] * layer.output.shape[2]
            )
            total += positions * int(np.prod(layer.kernel.shape))
    return total


def _cosine(
    epochs: int, steps: int, peak: float
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A rate that rises to its peak for a twentieth of the epochs, then falls as a cosine to zero."""
    warmup = max(1, epochs * steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        peak / 100, epochs * steps - warmup, alpha=0.0, warmup_target=peak, warmup_steps=warmup
    )


def _constant(
    optimizer: type[keras.Optimizer], rate: float = 1e-3
) -> Callable[[int], keras.Optimizer]:
    """The reference's way: one rate throughout."""
    return lambda _steps: optimizer(rate)


def _adam(epochs: int, peak: float) -> Callable[[int], keras.Optimizer]:
    return lambda steps: keras.optimizers.Adam(_cosine(epochs, steps, peak))


def _sgd(epochs: int, peak: float, weight_decay: float) -> Callable[[int], keras.Optimizer]:
    """Nesterov's momentum. Keras decays weights by themselves, outside the momentum: 5e-3 here is 5e-4 elsewhere."""
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
            "cuemill1_tune",  # To go on from a fitted cuemill1 (--start): a low rate, sharp images.
            cuemill1,
            _sgd(epochs=8, peak=0.02, weight_decay=5e-3),
            epochs=8,
            patience=8,
            batch_size=128,
            augmentation=Augmentation(contrast=0.15, brightness=12.0, sharp=1.0),
            label_smoothing=0.1,
            averaging=0.998,
        ),
    )
}
