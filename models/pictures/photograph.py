"""A photograph: small enough to find faces in, and as large as needed to cut them out."""

from functools import cached_property

from PIL import Image

from models.pictures.decode import decode, read_size


class Photograph:
    """An upright picture in two scales.

    Attributes:
        view: RGB, reduced if the file is much larger than `shorter_side`.
        width, height: of the full picture, in pixels.
        scale: pixels of the view for each of the full picture, at most 1.

    Args:
        data: an image file.
        shorter_side: the view's, in pixels, is not reduced below this.

    Raises:
        ImageError: as `decode`.
    """

    def __init__(self, data: bytes, shorter_side: int) -> None:
        self._data = data
        self.width, self.height = read_size(data)

        half = -(-shorter_side // 2)
        self.view = decode(data, (half, half))
        if (self.width > self.height) != (self.view.width > self.view.height):
            self.width, self.height = self.height, self.width  # The file is stored on its side.

        # Only a JPEG is decoded at a reduced scale.
        factor = min(self.view.size) // shorter_side
        if factor >= 2:
            self.full = self.view
            self.view = self.view.reduce(factor)
        self.scale = self.view.width / self.width

    @cached_property
    def full(self) -> Image.Image:
        """The picture with all its pixels; decoded when first asked for."""
        if self.scale == 1:
            return self.view
        return decode(self._data, (self.width, self.height))
