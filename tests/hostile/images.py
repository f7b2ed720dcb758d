"""A folder of hostile files: mutated files of every format, bombs, odd names, links and devices.

The same seed gives the same bytes, so a file that breaks something can be recreated by its name.
"""

import io
import os
import random
import socket
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, PngImagePlugin

from models.pictures.decode import MAX_PIXELS, MAX_SIDE
from models.sources.names import SUFFIXES as ALL_SUFFIXES
from models.sources.read import MAX_BYTES

SIDE: Final = 48
SUFFIXES: Final = tuple(sorted(ALL_SUFFIXES))
HUGE: Final = (
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\0" * 4,
    b"\xff\xff",
    b"\0\1\0\0",
)
"""Values for a size or an offset in a header."""

Codes = set[str | None]
"""The possible outcomes of a file: error codes, or None for a picture."""

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def sources() -> dict[str, bytes]:
    """A valid picture in every accepted format, by a name with the format's ending."""
    ramp = np.add.outer(np.arange(SIDE), 4 * np.arange(SIDE))
    rgb = Image.fromarray(np.stack([ramp, ramp * 3, 255 - ramp], -1).astype(np.uint8))
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray((ramp * 2).astype(np.uint8)))
    wide = Image.fromarray((ramp * 270).astype(np.uint16))
    frames = [rgb.rotate(90 * turn) for turn in range(4)]
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description " * 20
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "words " * 100, zip=True)
    digits = " ".join(map(str, np.asarray(rgb).ravel()))
    several: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    return {
        "rgb.jpg": _encode(rgb, "JPEG"),
        "grey.jpeg": _encode(rgb.convert("L"), "JPEG"),
        "cmyk.jpg": _encode(rgb.convert("CMYK"), "JPEG"),
        "progressive.jpg": _encode(rgb, "JPEG", progressive=True),
        "exif.jpg": _encode(rgb, "JPEG", exif=exif, icc_profile=b"profile " * 40),
        "restarts.jpg": _encode(rgb, "JPEG", restart_marker_blocks=2),
        "large.jpg": _encode(rgb.resize((400, 400)), "JPEG", quality=40),
        "mpo.jpg": _encode(rgb, "MPO", **several),
        "rgb.png": _encode(rgb, "PNG", pnginfo=text, icc_profile=b"profile " * 40),
        "16bit.png": _encode(wide, "PNG"),
        "palette.png": _encode(rgb.quantize(40), "PNG", transparency=3),
        "bits.png": _encode(rgb.convert("1"), "PNG"),
        "alpha.png": _encode(rgba, "PNG"),
        "animated.png": _encode(rgb, "PNG", **several),
        "lossy.webp": _encode(rgb, "WEBP", exif=exif),
        "lossless.webp": _encode(rgba, "WEBP", lossless=True),
        "animated.webp": _encode(rgb, "WEBP", **several),
        "rgb.bmp": _encode(rgb, "BMP"),
        "palette.bmp": _encode(rgb.quantize(40), "BMP"),
        "rgb.tif": _encode(rgb, "TIFF"),
        "deflate.tiff": _encode(rgba, "TIFF", compression="tiff_deflate"),
        "lzw.tif": _encode(rgb, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": _encode(rgb, "TIFF", compression="jpeg"),
        "float.tif": _encode(Image.fromarray(ramp.astype(np.float32)), "TIFF"),
        "several.tif": _encode(rgb, "TIFF", **several),
        "single.gif": _encode(rgb, "GIF"),
        "animated.gif": _encode(rgb, "GIF", **several),
        "rgb.ppm": _encode(rgb, "PPM"),
        "plain.ppm": f"P3 {SIDE} {SIDE} 255\n{digits}\n".encode(),
        "grey.pgm": _encode(rgb.convert("L"), "PPM"),
        "wide.pgm": _encode(wide, "PPM"),
        "bits.pbm": _encode(rgb.convert("1"), "PPM"),
        "rgb.dib": _encode(rgb, "DIB"),
        "rgb.avif": _encode(rgb, "AVIF"),
        "animated.avif": _without_times(_encode(rgb, "AVIF", **several)),
        "rgb.jp2": _encode(rgb, "JPEG2000"),
        "rgb.heic": _encode(rgb, "HEIF"),
    }


def _encode(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    if "append_images" in options:  # Pillow modifies the images that it saves.
        options["append_images"] = [frame.copy() for frame in options["append_images"]]
    image.copy().save(file, form, **options)
    return file.getvalue()


# --- Mutations: random, a file, another file -> bytes ---


def _place(rng: random.Random, data: bytes) -> int:
    """A random position; half the time in the first 100 bytes, where headers are."""
    return rng.randrange(min(len(data), 100) if rng.random() < 0.5 else len(data))


def flip_bits(rng: random.Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 12)):
        changed[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(1, len(data))]


def cut_head(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[_place(rng, data) :]


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(rng, data)] + other[_place(rng, other) :]


def repeat(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start = _place(rng, data)
    end = start + rng.randint(1, 400)
    return data[:end] + data[start:end] * rng.randint(1, 5) + data[end:]


def drop(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start = _place(rng, data)
    return data[:start] + data[start + rng.randint(1, 40) :]


def insert(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start, from_ = _place(rng, data), _place(rng, other)
    return data[:start] + other[from_ : from_ + rng.randint(1, 200)] + data[start:]


def swell(rng: random.Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        field, start = rng.choice(HUGE), _place(rng, data)
        changed[start : start + len(field)] = field
    return bytes(changed)


def rechunk(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Changes, doubles, swaps or borrows a PNG's chunks, with valid checksums.

    The checksums let the decoder reach the chunks' content. Any other file is cut into pieces and
    shuffled.
    """
    if not data.startswith(PNG):
        size = max(len(data) // 8, 1)
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        middle = pieces[1:-1]
        rng.shuffle(middle)
        return b"".join([pieces[0], *middle, pieces[-1]])
    chunks = list(png_chunks(data))
    if other.startswith(PNG):
        chunks.insert(rng.randrange(len(chunks)), rng.choice(list(png_chunks(other))))
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(chunks))
        kind, body = chunks[i]
        if len(body) > 1:
            body = rng.choice([flip_bits, cut, repeat, swell])(rng, body, other)
        chunks[i] = (kind, body)
        chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
    return png(*chunks)


MUTATIONS: Final[tuple[Mutation, ...]] = (
    flip_bits,
    flip_bits,
    cut,
    cut_head,
    splice,
    repeat,
    drop,
    insert,
    swell,
    swell,
    rechunk,
)


def mutated(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of `count` mutated files; one in eight has another format's ending."""
    rng = random.Random(seed)
    originals = sources()
    for number in range(count):
        name = list(originals)[number % len(originals)]
        mutation = rng.choice(MUTATIONS)
        data = mutation(rng, originals[name], rng.choice(list(originals.values())))
        if rng.random() < 0.2 and data:
            data = rng.choice(MUTATIONS)(rng, data, rng.choice(list(originals.values())))
        stem, suffix = os.path.splitext(name)
        suffix = rng.choice(SUFFIXES) if rng.random() < 0.125 else suffix
        yield f"{number:05}-{stem}-{mutation.__name__}{suffix}", data


def _without_times(data: bytes) -> bytes:
    """An animated AVIF without the times of its making, so that it is the same every time."""
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        times = data.index(box) + 8  # After the box's type, version and flags.
        data = data[:times] + bytes(16) + data[times + 16 :]
    return data


# --- Bombs ---

PNG: Final = b"\x89PNG\r\n\x1a\n"


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return PNG + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(PNG)
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        body = position + 8
        yield data[position + 4 : body], data[body : body + size]
        position = body + size + 4


def png_of(
    width: int, height: int, depth: int, colour: int, pixels: bytes, *extra: tuple[bytes, bytes]
) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return png(header, *extra, (b"IDAT", pixels), (b"IEND", b""))


def zeros(count: int) -> bytes:
    """`count` zeros, compressed by zlib piece by piece."""
    compressor = zlib.compressobj(9)
    pieces = [
        compressor.compress(bytes(min(2**20, count - start))) for start in range(0, count, 2**20)
    ]
    return b"".join([*pieces, compressor.flush()])


def tiff(width: int, height: int, *tags: tuple[int, int, int, int], data: bytes = b"") -> bytes:
    """A little-endian TIFF in 8-bit grey, with one directory and one strip.

    Args:
        tags: (number, type, count, value) each, added to the usual ones or in place of them.
    """
    values: dict[int, tuple[int, ...]] = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        262: (3, 1, 1),
        273: (4, 1, 8),
        278: (4, 1, height),
        279: (4, 1, len(data)),
    }
    for number, *value in tags:
        values[number] = tuple(value)
    entries = b"".join(
        struct.pack("<HHII", number, *value) for number, value in sorted(values.items())
    )
    directory = struct.pack("<H", len(values)) + entries + b"\0" * 4
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def gif(
    screen: tuple[int, int],
    frame: tuple[int, int],
    data: bytes = b"\x02\x02\x44\x01\0",
    frames: int = 1,
) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + (b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + data) * frames + b";"


def webp(width: int, height: int) -> bytes:
    """A canvas of any size around a valid small picture."""
    inner = sources()["lossy.webp"][12:]
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + _u24(width - 1) + _u24(height - 1)
    body += b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    start = inner.index(b"VP8 ")
    picture = inner[start : start + 8 + struct.unpack_from("<I", inner, start + 4)[0]]
    frame = _u24(0) + _u24(0) + _u24(SIDE - 1) + _u24(SIDE - 1) + _u24(100) + b"\0" + picture
    body += b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _u24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def jpeg_sized(width: int, height: int) -> bytes:
    """A valid JPEG whose header declares another size."""
    data = bytearray(sources()["rgb.jpg"])
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def jpeg_of_scans(side: int, count: int) -> bytes:
    """A progressive JPEG with `count` scans over all its pixels, of a few bytes each."""
    data = _encode(Image.new("L", (side, side), 99), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def bombs() -> dict[str, tuple[bytes, Codes]]:
    """Small files that demand much, by name, with the possible outcomes of each."""
    pixels, big = zlib.compress(b"\0" * 1000), 100_000
    much = zeros(80_000_000)
    text, profile = b"Comment\0\0" + much, b"profile\0\0" + much
    sound = {
        name: list(png_chunks(data)) for name, data in sources().items() if name.endswith(".png")
    }
    too_many: Codes = {"too_many_pixels"}
    broken: Codes = {"truncated", "undecodable", "not_an_image"}
    return {
        "bomb-size.png": (png_of(big, big, 8, 2, pixels), too_many),
        "bomb-size-max.png": (png_of(2**31 - 1, 2**31 - 1, 16, 6, pixels), too_many | broken),
        "bomb-one-more.png": (
            png_of(MAX_PIXELS + 1, 1, 1, 0, zeros(MAX_PIXELS // 8 + 2)),
            too_many,
        ),
        "bomb-wide.png": (png_of(MAX_PIXELS, 1, 1, 0, zeros(MAX_PIXELS // 8 + 1)), too_many),
        "bomb-tall.png": (png_of(1, MAX_SIDE + 1, 8, 0, zeros(2 * MAX_SIDE + 2)), too_many),
        "bomb-tallest.png": (png_of(1, MAX_SIDE, 8, 0, zeros(2 * MAX_SIDE)), {None}),
        "bomb-widest.png": (png_of(MAX_SIDE, 100, 1, 0, zeros(100 * (MAX_SIDE // 8 + 2))), {None}),
        "bomb-alpha.png": (png_of(6_000, 6_000, 8, 6, zeros(6_000 * 24_001)), {None}),
        "bomb-16bit.png": (png_of(3_000, 3_000, 16, 0, zeros(3_000 * 6_001)), {None}),
        "bomb-surplus.png": (png_of(SIDE, SIDE, 8, 2, much), broken | {None}),
        "bomb-text.png": (
            png(*sound["rgb.png"][:1], (b"zTXt", text), *sound["rgb.png"][1:]),
            broken | {None},
        ),
        "bomb-texts.png": (
            png(
                *sound["rgb.png"][:1],
                *[(b"zTXt", b"Comment\0\0" + zeros(900_000))] * 100,
                *sound["rgb.png"][1:],
            ),
            broken | {None},
        ),
        "bomb-international.png": (
            png(*sound["rgb.png"][:1], (b"iTXt", b"C\0\1\0\0\0" + much), *sound["rgb.png"][1:]),
            broken | {None},
        ),
        "bomb-profile.png": (
            png(*sound["rgb.png"][:1], (b"iCCP", profile), *sound["rgb.png"][1:]),
            broken | {None},
        ),
        "bomb-frames.png": (
            png(
                *sound["animated.png"][:1],
                (b"acTL", struct.pack(">II", 2**31 - 1, 0)),
                *sound["animated.png"][1:],
            ),
            broken | {None},
        ),
        "bomb-screen.gif": (gif((65535, 65535), (1, 1)), too_many),
        "bomb-frame.gif": (gif((1, 1), (65535, 65535)), too_many),
        "bomb-frames.gif": (gif((8, 8), (8, 8), frames=20_000), broken | {None}),
        "bomb-size.tif": (tiff(2**31 - 1, 2**31 - 1), too_many | broken),
        "bomb-big.tif": (tiff(big, big), too_many),
        "bomb-strips.tif": (tiff(SIDE, SIDE, (273, 4, 2**28, 8), (279, 4, 2**28, 8)), broken),
        "bomb-tile.tif": (
            tiff(
                SIDE, SIDE, (322, 4, 1, 2**30), (323, 4, 1, 2**30), (324, 4, 1, 8), (325, 4, 1, 8)
            ),
            broken | too_many,
        ),
        "bomb-tile-deflate.tif": (
            tiff(
                SIDE,
                SIDE,
                (259, 3, 1, 8),
                (322, 4, 1, 65536),
                (323, 4, 1, 65536),
                (324, 4, 1, 8),
                (325, 4, 1, 99),
            ),
            broken | too_many,
        ),
        "bomb-strip-deflate.tif": (
            tiff(SIDE, 10**6, (259, 3, 1, 8), data=much),
            broken | too_many,
        ),
        "bomb-deflate.tif": (tiff(SIDE, SIDE, (259, 3, 1, 8), data=much), broken | {None}),
        "bomb-samples.tif": (tiff(SIDE, SIDE, (277, 3, 1, 65535)), broken),
        "bomb-loop.tif": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", broken),
        "bomb-canvas.webp": (webp(16384, 16384), too_many),
        "bomb-canvas-max.webp": (webp(2**24, 255), too_many | broken),
        "bomb-canvas-less.webp": (webp(9_000, 9_000), too_many),
        "bomb-size.bmp": (
            b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, 2**30, 2**30, 1, 24, *[0] * 6),
            too_many,
        ),
        "bomb-runs.bmp": (
            b"BM"
            + struct.pack("<IIIIiiHHIIIIII", 99, 0, 58, 40, 6_000, 6_000, 1, 8, 1, 0, 0, 0, 1, 0)
            + b"\0" * 4,
            broken | {None},
        ),
        "bomb-size.ppm": (b"P6 999999 999999 255\n" + bytes(100), too_many),
        "bomb-digits.ppm": (b"P6 " + b"9" * 1_000_000 + b" 1 255\n", broken),
        "bomb-nothing.pgm": (b"P5 6000 6000 255\n", broken),
        "bomb-plain.ppm": (b"P3 3000 3000 255\n" + b"1 " * 100_000, broken),
        "bomb-token.ppm": (b"P3 3000 3000 255\n" + b"1" * 1_000_000, broken),
        "bomb-comments.ppm": (b"P3 3000 3000 255\n" + b"#\n" * 1_000_000, broken),
        "bomb-size.jpg": (jpeg_sized(65_000, 65_000), too_many),
        "bomb-cut.jpg": (jpeg_sized(6_000, 6_000), broken | {None}),
        "bomb-scans.jpg": (jpeg_of_scans(4_000, 50_000), {"undecodable"}),
        "bomb-exif.jpg": (
            b"\xff\xd8"
            + (b"\xff\xe1\xff\xffExif\0\0" + b"II*\0\x08\0\0\0" + b"\xff" * 65519) * 50
            + sources()["rgb.jpg"][2:],
            broken | {None},
        ),
        "bomb-markers.jpg": (
            b"\xff\xd8" + b"\xff\xfe\0\x02" * 500_000 + sources()["rgb.jpg"][2:],
            broken | {None},
        ),
        "bomb-filler.jpg": (
            b"\xff\xd8" + b"\xff" * 2_000_000 + sources()["rgb.jpg"][2:],
            broken | {None},
        ),
    }


# --- Files that aren't files, and names ---

NAMES: Final = (
    b"caf\xe9.jpg",
    b"\xff\xfe\x80.png",
    "n\u00e4me \U0001f642.webp".encode(),
    b"new\nline\r.gif",
    b"tab\t\x1b[31m\x01.bmp",
    b"'\"`$(touch x); DROP TABLE images.jpg",
    b"-rf.jpg",
    b" .jpg",
    b"%s%n{0}.png",
    b"back\\x00slash.jpg",
    b"CON.JPG",
    "\u202egpj.exe.jpg".encode(),
    b"a" * 251 + b".jpg",
    b"[b]*?.tif",
)


def build(folder: Path, mutants: int) -> dict[bytes, Codes | None]:
    """Fills a folder, and one beside it that links lead to.

    Returns:
        The paths that need an outcome, with the possible ones; None = any.
    """
    outside = folder.parent / "outside"
    outside.mkdir()
    folder.mkdir()
    sound = sources()
    (outside / "secret.jpg").write_bytes(sound["rgb.jpg"])
    expected: dict[bytes, Codes | None] = {}

    def write(name: bytes, data: bytes, codes: Codes | None) -> None:
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        expected[name] = codes

    for name, data in sound.items():
        wrong_suffix = b".gif" if name.endswith("png") else b".png"
        write(b"sound/" + name.encode(), data, {None})
        write(b"misnamed/" + name.encode() + wrong_suffix, data, {None})
    for name, data in mutated(mutants):
        write(b"mutated/" + name.encode(), data, None)
    for name, (data, codes) in bombs().items():
        write(b"bombs/" + name.encode(), data, codes)
    for raw in NAMES:
        write(b"names/" + raw, sound["rgb.jpg"], {None})

    write(b"directory.jpg/" + b"a" * 200 + b"/inner.jpg", sound["rgb.jpg"], {None})
    write(b"empty.jpg", b"", {"empty"})
    write(b"unreadable.jpg", sound["rgb.jpg"], {None if os.geteuid() == 0 else "permission_denied"})
    for name, size, code in (
        ("4g", 4 << 30, "too_large"),
        ("one-more", MAX_BYTES + 1, "too_large"),
        ("90m", 90_000_000, None),
    ):
        write(f"sparse-{name}.jpg".encode(), sound["rgb.jpg"], {code})
        os.truncate(folder / f"sparse-{name}.jpg", size)

    (folder / "unreadable.jpg").chmod(0)
    (folder / "empty-directory.jpg").mkdir()
    (folder / "no-image.txt").write_text("ignored")
    (folder / ".hidden.jpg").write_bytes(b"ignored")
    expected |= _odd_files(folder, outside)
    return expected


def _odd_files(folder: Path, outside: Path) -> dict[bytes, Codes | None]:
    links = {
        "zero.jpg": ("/dev/zero", "outside_folder"),
        "random.png": ("/dev/random", "outside_folder"),
        "memory.tif": ("/proc/self/mem", "outside_folder"),
        "escape.jpg": ("../outside/secret.jpg", "outside_folder"),
        "escape-by-two.jpg": ("escape.jpg", "outside_folder"),
        "dangling.jpg": ("nothing.jpg", "vanished"),
        "dangling-outside.jpg": ("../outside/nothing.jpg", "vanished"),
        "not-a-folder.jpg": ("empty.jpg/inner.jpg", "vanished"),
        "loop.jpg": ("loop-back.jpg", "link_loop"),
        "loop-back.jpg": ("loop.jpg", "link_loop"),
        "myself": ("myself", "link_loop"),
        "round": (".", "linked_folder"),
        "outside.jpg": (str(outside), "linked_folder"),
        "inside.jpg": ("sound/rgb.jpg", None),
    }
    expected: dict[bytes, Codes | None] = {}
    for name, (target, code) in links.items():
        (folder / name).symlink_to(target)
        expected[name.encode()] = {code}
    os.mkfifo(folder / "pipe.jpg")
    expected[b"pipe.jpg"] = {"not_a_file"}
    with socket.socket(socket.AF_UNIX) as server:
        descriptor = os.open(folder, os.O_RDONLY)
        # Through /proc, because a socket's path is limited to 107 bytes.
        server.bind(f"/proc/self/fd/{descriptor}/socket.jpg")
        os.close(descriptor)
    expected[b"socket.jpg"] = {"not_a_file"}

    # Only root may create a device, and not in every container.
    with suppress(PermissionError):
        os.mknod(folder / "device.jpg", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        # Denied where devices may not be opened.
        expected[b"device.jpg"] = {"not_a_file", "permission_denied"}
    return expected
