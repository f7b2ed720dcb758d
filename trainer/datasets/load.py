"""Labelled images from every source that `cuemill train --data` accepts.

* `FOLDER`: one subfolder per label, named after one of the 28 emotions or a class of FER-2013
  (`angry`, `happy`, ...), or spelled otherwise (`fearful`). Images may lie in folders below it.
* `x_data.npy`: uint8 (n, height, width, 3) in B, G, R order, with `x_labels.npy` (n,) beside it,
  or scores (n, 28) whose rows sum to 1, one-hot or not; opened as a memory map.
* `fer2013.csv`: the columns emotion (0 to 6, or a name), pixels and Usage, in any order. Options:
  `training` (default), `publictest`, `privatetest`. Without Usage, all rows are read.
* `Annotations.mat`: EMOTIC's annotations, with its image folders nearby. Options: `train`
  (default), `val`, `test`; `body` (default), `face` (for files whose people have a `face_bbox`);
  `soft` (default), `rarest`.

Options follow the path after commas: `Annotations.mat,val,face`.
"""

from collections.abc import Callable, Iterable
from typing import Final

from models.errors import DataError
from models.pictures.preprocessing import Preprocessing
from models.training_data import OPTIONS, DataSource, parse
from trainer.datasets.arrays import load_arrays
from trainer.datasets.dataset import Dataset, merge
from trainer.datasets.emotic import load_emotic
from trainer.datasets.fer2013 import load_fer2013
from trainer.datasets.files import OnRead
from trainer.datasets.folders import load_folder

Loader = Callable[[DataSource, Preprocessing, OnRead], Dataset]

LOADERS: Final[dict[str, Loader]] = {
    "": load_folder,
    ".npy": load_arrays,
    ".csv": load_fer2013,
    ".mat": load_emotic,
}
"""The loader for each kind of source, as `DataSource.kind` names it."""


def _ignore(done: int, total: int) -> None:
    """Reports nothing."""


def load(
    sources: Iterable[str], preprocessing: Preprocessing, on_read: OnRead = _ignore
) -> Dataset:
    """Reads and merges sources, each in the form `PATH[,option...]` described above.

    Args:
        on_read: called with the number of images read so far from a source, and its total.

    Raises:
        DataError: a source is missing, has an unknown form, or holds data that cannot be trained
            on; the text names it.
    """
    return merge([_load_source(parse(text), preprocessing, on_read) for text in sources])


def _load_source(source: DataSource, preprocessing: Preprocessing, on_read: OnRead) -> Dataset:
    if source.kind and not source.path.is_file():
        raise DataError(f"{source.path} is not a file.")

    if not source.kind and not source.path.is_dir():
        suffixes = ", ".join(suffix for suffix in OPTIONS if suffix)
        raise DataError(
            f"{source.path} is not a folder. Give a folder with one subfolder per label, "
            f"or a file of one of these types: {suffixes}."
        )

    return LOADERS[source.kind](source, preprocessing, on_read)
