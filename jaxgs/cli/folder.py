"""The maps of a folder: read, named, brought to one size."""

import os
import pathlib

import numpy as np

from jaxgs.cli.report import note
from jaxgs.codec.maps import name_fault
from jaxgs.io import IMAGE_SUFFIXES, Image, ImageError, read_image
from jaxgs.transfer import premultiply, unpremultiply


def image_names(folder: str) -> list[str]:
  """The images of a folder, in the order of their names.

  Args:
    folder: Hidden files, sub-folders and files of other suffixes do not count.

  Returns:
    Names without the folder, one or more.

  Raises:
    ImageError: it is no folder, or has no images.
  """
  try:
    with os.scandir(folder) as entries:
      names = sorted(
        entry.name
        for entry in entries
        if not entry.name.startswith(".")
        and pathlib.PurePath(entry.name).suffix.lower() in IMAGE_SUFFIXES
        and not entry.is_dir()
      )
  except OSError as error:
    raise ImageError(folder, error.strerror or str(error)) from error
  if not names:
    raise ImageError(folder, f"no images ({', '.join(IMAGE_SUFFIXES)}) in it")
  return names


def read_maps(folder: str, **reading) -> dict[str, Image]:
  """Reads the images of a folder.

  Args:
    folder: See `image_names`.
    **reading: Options of `read_image`.

  Returns:
    By name, the file's without its suffix, in the order of the names.

  Raises:
    ImageError: it is no folder, has no images, two have one name, a name is
      that of no map, or an image cannot be read.
  """
  files = image_names(folder)
  # All names first: reading takes longer.
  paths: dict[str, str] = {}
  seen: dict[str, str] = {}
  for file in files:
    name = pathlib.PurePath(file).stem
    if fault := name_fault(name):
      raise ImageError(os.path.join(folder, file), f"the name {fault}")
    # Some file systems do not tell A from a.
    other = seen.setdefault(name.casefold(), file)
    if other != file:
      raise ImageError(folder, f"{other} and {file} would be one map")
    paths[name] = os.path.join(folder, file)
  return {name: read_image(path, **reading) for name, path in paths.items()}


def largest_size(maps: dict[str, Image]) -> tuple[int, int]:
  """Height and width of the map of the most pixels."""
  sizes = [image.pixels.shape[:2] for image in maps.values()]
  return max(sizes, key=lambda size: size[0] * size[1])


def resize_maps(
  maps: dict[str, Image], size: tuple[int, int], command: str
) -> dict[str, Image]:
  """Brings maps to one size, with a line on stderr for those of others."""
  out = {}
  height, width = size
  for name, image in maps.items():
    h, w = image.pixels.shape[:2]
    if (h, w) != size:
      note(command, f"{name}: {w}x{h} is resized to {width}x{height}")
      image = image._replace(pixels=_resize(image, height, width))
    out[name] = image
  return out


def _resize(image: Image, height: int, width: int) -> np.ndarray:
  """Lanczos, of float32 channels; colours count by their alpha."""
  import PIL.Image

  pixels = image.pixels
  if image.has_alpha:
    pixels = premultiply(pixels)
  most = pixels.max(axis=(0, 1))
  channels = [
    PIL.Image.fromarray(np.ascontiguousarray(channel)).resize(
      (width, height), PIL.Image.Resampling.LANCZOS
    )
    for channel in np.moveaxis(pixels, -1, 0)
  ]
  # The filter overshoots at edges.
  pixels = np.clip(np.stack(channels, -1), 0, most)
  if image.has_alpha:
    pixels = np.minimum(unpremultiply(pixels), image.pixels.max(axis=(0, 1)))
  return pixels
