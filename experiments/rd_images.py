"""The images of a rate-distortion run."""

import pathlib

import numpy as np

from jaxgs.io import IMAGE_SUFFIXES, read_image


def choose_images(folder: pathlib.Path, names, subset) -> list[pathlib.Path]:
  """The images of a run, by name.

  Args:
    folder: Where they are.
    names: Without suffix; empty: all.
    subset: None, or how many of them, evenly spaced.

  Returns:
    Paths.

  Raises:
    ValueError: There are none, two have one name, or a name is missing.
  """
  found = sorted(p for p in folder.iterdir() if p.suffix in IMAGE_SUFFIXES)
  by_name = {path.stem: path for path in found}
  if not found or len(by_name) < len(found):
    raise ValueError(f"{folder} must have images, each of a name of its own")
  if missing := [name for name in names if name not in by_name]:
    raise ValueError(f"{folder} has no image {', '.join(missing)}")
  chosen = [by_name[name] for name in names] or found
  count = min(subset or len(chosen), len(chosen))
  return [chosen[i * len(chosen) // count] for i in range(count)]


def read_rgb(path: pathlib.Path) -> np.ndarray:
  """A picture as all codecs can take it.

  Args:
    path: Of an image of 8 bits; grey becomes RGB, alpha is laid on white.

  Returns:
    (H, W, 3) uint8.

  Raises:
    ValueError: It has 16 bits.
  """
  image = read_image(path)
  if image.bit_depth != 8:
    raise ValueError(f"{path} has {image.bit_depth} bits; the anchors take 8")
  pixels = image.pixels
  if image.has_alpha:
    pixels, alpha = pixels[..., :-1], pixels[..., -1:]
    pixels = pixels * alpha + (1 - alpha)
  pixels = np.rint(pixels * 255).astype(np.uint8)
  return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
