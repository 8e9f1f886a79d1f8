"""Pictures to a film: GIF and WebP by Pillow, MP4 by imageio-ffmpeg."""

from __future__ import annotations

import importlib.util
import io
import os
import warnings
from collections.abc import Sequence

import numpy as np

from jaxgs.io import ImageError, check_writable, write_atomic
from jaxgs.io.files import check_suffix

FILM_SUFFIXES = (".gif", ".webp", ".mp4")


def check_film_format(path: str | os.PathLike) -> str:
  """Checks that there is a writer for a film.

  Args:
    path: Of the film.

  Returns:
    Its suffix, lower case.

  Raises:
    ImageError: Another suffix, or an MP4 without imageio-ffmpeg.
  """
  suffix = check_suffix(path, FILM_SUFFIXES)
  if suffix == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
    raise ImageError(
      path,
      "MP4 needs imageio-ffmpeg (pip install imageio-ffmpeg); .gif and .webp do"
      " not",
    )
  return suffix


def check_film(path: str | os.PathLike) -> None:
  """Checks that a film can be written, before the long work.

  Args:
    path: Of the film.

  Raises:
    ImageError: See `check_film_format`, or no file can be there.
  """
  check_film_format(path)
  check_writable(path, suffixes=FILM_SUFFIXES)


def write_film(
  path: str | os.PathLike,
  frames: Sequence[np.ndarray],
  *,
  frames_per_second: float = 10.0,
  hold_seconds: float = 2.0,
) -> None:
  """Writes a film, whole or not at all; GIF and WebP start again at the end.

  Args:
    path: Ends in .gif, .webp or .mp4.
    frames: At least one, all (H, W, 3) uint8 of one size.
    frames_per_second: Of all frames but the last.
    hold_seconds: Of the last.

  Raises:
    ImageError: See `check_film`.
    ValueError: There are no frames, or they have several sizes.
  """
  suffix = check_film_format(path)
  shapes = {frame.shape for frame in frames}
  if len(shapes) != 1:
    raise ValueError(f"frames must be some, of one size, got sizes {shapes}")
  if suffix == ".mp4":
    data = _mp4(frames, frames_per_second, hold_seconds)
  else:
    data = _pillow(suffix, frames, frames_per_second, hold_seconds)
  write_atomic(path, data)


def _pillow(suffix: str, frames, rate: float, hold: float) -> bytes:
  from PIL import Image

  images = [Image.fromarray(frame) for frame in frames]
  options = {"quality": 85, "method": 4}
  if suffix == ".gif":
    # A palette of its own for every frame, and noise against bands in the sky.
    images = [
      image.quantize(
        palette=image.quantize(256), dither=Image.Dither.FLOYDSTEINBERG
      )
      for image in images
    ]
    options = {"optimize": False}
  durations = [round(1000 / rate)] * (len(images) - 1) + [round(1000 * hold)]
  buffer = io.BytesIO()
  images[0].save(
    buffer,
    suffix[1:],
    save_all=True,
    append_images=images[1:],
    duration=durations,
    loop=0,
    **options,
  )
  return buffer.getvalue()


def _mp4(frames, rate: float, hold: float) -> bytes:
  import imageio.v3 as iio

  # Halved colours need even sides.
  height, width, _ = frames[0].shape
  odd = ((0, height % 2), (0, width % 2), (0, 0))
  padded = [np.pad(frame, odd, mode="edge") for frame in frames]
  padded += [padded[-1]] * max(0, round(hold * rate) - 1)
  with warnings.catch_warnings():
    # Of jax, at the fork that starts ffmpeg: that child runs no jax.
    warnings.filterwarnings("ignore", r".*os\.fork\(\)", RuntimeWarning)
    return iio.imwrite(
      "<bytes>",
      np.stack(padded),
      plugin="FFMPEG",
      extension=".mp4",
      fps=rate,
      codec="libx264",
      quality=8,
      macro_block_size=1,
    )
