"""`cuemill dataset`."""

from pathlib import Path
from typing import Annotated

import typer

from cli.context import trainer_extra
from cli.options import LabelledImages
from cli.output import err, print_balance
from cli.progress import TrainingBars
from models.errors import UsageError

app = typer.Typer(name="dataset", help="Prepare training data.", no_args_is_help=True)


@app.command()
def build(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to write to.", show_default=False)
    ],
    data: LabelledImages,
    prefix: Annotated[str, typer.Option(help="Start of both file names.")] = "train",
) -> None:
    """Convert labelled images to a pair of NumPy files.

    `PREFIX_data.npy` holds the images (48x48 pixels, B, G, R), `PREFIX_labels.npy` their labels.
    An image with several categories gets the one that is rarest in the data.

    Requires `cuemill[trainer]`.
    """
    with trainer_extra():
        from models.pictures.preprocessing import Preprocessing
        from trainer.datasets.dataset import write_pair
        from trainer.datasets.load import load

    if not prefix or Path(prefix).name != prefix:
        raise UsageError(
            f"Invalid --prefix {prefix!r}: expected the start of a file name, such as `train`."
        )

    with TrainingBars() as bars:
        images = load(data, Preprocessing(), bars.read)
    data_file, labels_file = write_pair(images, folder, prefix)

    print_balance({"images": images.balance()})
    err.print(f"Wrote {data_file} {images.images.shape} and {labels_file.name}.")
