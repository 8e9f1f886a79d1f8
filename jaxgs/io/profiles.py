"""Colour profiles (ICC): their names, and colours by them in sRGB.

littleCMS does the work, through imagecodecs, in floats: its tables for 8 and
16 bits are off by up to 21 of 255 levels at the edge of the gamut.
"""

import io
import os

import numpy as np

from jaxgs.io.files import ImageError

# Profiles of sRGB differ in their tables by less than a level of 8 bits.
_SAME = 1 / 255
# ITU-R BT.709, which sRGB shares: x, y of D65 white and of the primaries.
_WHITE = (0.3127, 0.3290)
_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def icc_name(profile: bytes) -> str:
  """The name that a colour profile gives itself, for messages.

  Args:
    profile: an ICC profile.

  Returns:
    One line; "damaged" if the profile cannot be read.
  """
  import PIL.ImageCms

  # Any type: Pillow passes on what littleCMS and the text decoder raise.
  try:
    opened = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
    name = PIL.ImageCms.getProfileDescription(opened)
  except Exception:
    return "damaged"
  return " ".join(name.split()) or "without a name"


def icc_space(profile: bytes) -> str:
  """The colours a profile is for: "RGB", "GRAY", "CMYK", ..., "" if damaged."""
  if len(profile) < 128 or profile[36:40] != b"acsp":
    return ""
  return profile[16:20].decode("ascii", "replace").strip()


def is_standard(profile: bytes, sample: str) -> bool:
  """Whether a profile of RGB or grey means what is assumed without any.

  Args:
    profile: an ICC profile.
    sample: "integer": sRGB is assumed; "half" or "float": linear light of the
      primaries of sRGB.

  Raises:
    ValueError: The profile is damaged.
  """
  channels = 1 if icc_space(profile) == "GRAY" else 3
  steps = np.linspace(0, 1, 17 if channels == 1 else 5, dtype=np.float32)
  grid = np.stack(np.meshgrid(*[steps] * channels), -1).reshape(1, -1, channels)
  return bool(np.abs(_convert(grid, profile, sample) - grid).max() < _SAME)


def to_srgb(
  path: str | os.PathLike,
  pixels: np.ndarray,
  profile: bytes,
  *,
  sample: str,
  has_alpha: bool,
) -> np.ndarray:
  """Converts pixels to sRGB, or to linear light of the primaries of sRGB.

  Colours out of the gamut are clipped, except above 1 in linear light. A grey
  picture stays grey, also with a profile of RGB.

  Args:
    path: for messages.
    pixels: (H, W, C) float32.
    profile: ICC, of RGB or grey.
    sample: "integer": to sRGB; else to linear light.
    has_alpha: the last channel is alpha; it is kept.

  Returns:
    (H, W, C) float32.

  Raises:
    ImageError: The profile is damaged, or is not for these channels.
  """
  num_colours = pixels.shape[2] - has_alpha
  space = icc_space(profile)
  if space not in (("GRAY", "RGB") if num_colours == 1 else ("RGB",)):
    raise ImageError(path, _unfit(profile, num_colours))
  colours = pixels[..., :num_colours]
  if space == "RGB" and num_colours == 1:
    colours = np.repeat(colours, 3, axis=2)
  try:
    colours = _convert(colours, profile, sample)
  except ValueError as error:
    reason = f"colour profile {icc_name(profile)}: {error}"
    raise ImageError(path, reason) from error
  # Green is the middle one should rounding leave the three a little apart.
  colours = colours[..., 1:2] if num_colours < colours.shape[2] else colours
  colours = np.clip(colours, 0, 1 if sample == "integer" else None)
  return np.concatenate([colours, pixels[..., num_colours:]], axis=2)


def kept_profile(
  path: str | os.PathLike, profile: bytes, *, sample: str, num_colours: int
) -> bytes | None:
  """A picture's profile, or None if it says nothing or does not fit."""
  from absl import logging

  if icc_space(profile) != ("GRAY" if num_colours == 1 else "RGB"):
    reason = _unfit(profile, num_colours)
  else:
    try:
      return None if is_standard(profile, sample) else profile
    except ValueError as error:
      reason = f"colour profile: {error}"
  logging.warning("%s: %s: left out", os.fspath(path), reason)
  return None


def cmyk_to_srgb(
  path: str | os.PathLike, samples: np.ndarray, profile: bytes
) -> np.ndarray:
  """(H, W, 4) uint8, 255 for full ink, to (H, W, 3) uint8.

  Raises:
    ImageError: The profile is damaged, or not one of CMYK.
  """
  import imagecodecs

  try:
    if icc_space(profile) != "CMYK":
      raise ValueError("not a profile of CMYK")
    return imagecodecs.cms_transform(
      samples,
      profile,
      imagecodecs.cms_profile("srgb"),
      colorspace="cmyk",
      outcolorspace="rgb",
    )
  except (ValueError, imagecodecs.CmsError) as error:
    reason = f"colour profile {icc_name(profile)}: {error}"
    raise ImageError(path, reason) from error


def _unfit(profile: bytes, num_colours: int) -> str:
  space = icc_space(profile) or "no known"
  colours = "grey" if num_colours == 1 else "RGB"
  name = icc_name(profile)
  return f"colour profile {name}, of {space} colours, on a picture of {colours}"


def _convert(colours: np.ndarray, profile: bytes, sample: str) -> np.ndarray:
  """(H, W, C) float32 to the same in the colours assumed without a profile."""
  import imagecodecs

  if sample == "integer":
    target = imagecodecs.cms_profile("srgb")
  else:
    target = imagecodecs.cms_profile(
      "rgb", whitepoint=_WHITE, primaries=_PRIMARIES, gamma=1.0
    )
  is_grey = colours.shape[2] == 1
  try:
    converted = imagecodecs.cms_transform(
      np.ascontiguousarray(colours[..., 0] if is_grey else colours),
      profile,
      target,
      colorspace="gray" if is_grey else "rgb",
      outcolorspace="rgb",
    )
  except imagecodecs.CmsError as error:
    raise ValueError(str(error)) from error
  return converted[..., 1:2] if is_grey else converted
