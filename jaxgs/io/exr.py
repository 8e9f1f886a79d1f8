"""OpenEXR: through the library's own module, the extra `hdr`."""

import importlib.util
import io
import os

import numpy as np

from jaxgs.io.decoded import Decoded
from jaxgs.io.exr_header import Part, read_parts
from jaxgs.io.files import ImageError
from jaxgs.io.linear import divide_by_alpha, multiply_by_alpha

# ITU-R BT.709 with D65, what a file without chromaticities has.
_REC_709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)


def check_openexr(path: str | os.PathLike) -> None:
  """Raises ImageError if OpenEXR's module is not installed."""
  if importlib.util.find_spec("OpenEXR") is None:
    raise ImageError(
      path, "OpenEXR files need a package: pip install 'jaxgs[hdr]'"
    )


def decode_exr(path: str | os.PathLike, data: bytes) -> Decoded:
  """Decodes the first part of an OpenEXR file; see `jaxgs.io.read_image`."""
  check_openexr(path)
  import OpenEXR

  parts = read_parts(path, data)
  names = _choose_channels(path, parts[0])
  _notice(path, parts, names)
  # Not OpenEXR.File: that leaves a part with a fault out, tells of it on
  # stdout, and decodes all channels of all parts.
  file = OpenEXR.InputFile(io.BytesIO(data))
  kinds = [parts[0].channels[name].kind for name in names]
  shape = parts[0].height, parts[0].width
  planes = [
    np.frombuffer(plane, np.float16 if kind == "half" else np.float32)
    for kind, plane in zip(kinds, file.channels(names), strict=True)
  ]
  samples = np.stack(planes, axis=-1).reshape(*shape, -1)
  if len(names) in (2, 4):
    samples = divide_by_alpha(samples)
  sample = "float" if "float" in kinds else "half"
  return Decoded(samples, 1, sample)


def encode_exr(samples: np.ndarray) -> bytes:
  """Encodes (H, W, C) float16 or float32, alpha in the last of 2 or 4."""
  import OpenEXR

  num_channels = samples.shape[2]
  if num_channels in (2, 4):
    samples = multiply_by_alpha(samples)
  names = {1: "Y", 2: "YA", 3: "RGB", 4: "RGBA"}[num_channels]
  channels = {
    name: np.ascontiguousarray(samples[..., i]) for i, name in enumerate(names)
  }
  header = {
    "compression": OpenEXR.ZIP_COMPRESSION,
    "type": OpenEXR.scanlineimage,
  }
  file = io.BytesIO()
  OpenEXR.File(header, channels).write(file)
  return file.getvalue()


def _choose_channels(path: str | os.PathLike, part: Part) -> list[str]:
  """R, G, B or Y, and A: those without a layer, or those of the only layer."""
  layers: dict[str, set[str]] = {}
  for name in part.channels:
    layer, dot, last = name.rpartition(".")
    layers.setdefault(layer + dot, set()).add(last)
  for whole in (True, False):
    for colours in ("RGB", "Y"):
      found = [
        layer
        for layer, lasts in layers.items()
        if lasts.issuperset(colours)
        and not lasts & {"RY", "BY"}
        and (not layer or not whole)
      ]
      if len(found) == 1:
        letters = colours + "A" * ("A" in layers[found[0]])
        names = [found[0] + letter for letter in letters]
        _check_channels(path, part, names)
        return names
  all_names = ", ".join(part.channels)
  raise ImageError(
    path, f"OpenEXR channels {all_names}; expected R, G, B or Y, and A"
  )


def _check_channels(
  path: str | os.PathLike, part: Part, names: list[str]
) -> None:
  for name in names:
    kind, x_step, y_step = part.channels[name]
    if kind == "uint":
      raise ImageError(path, f"OpenEXR channel {name} of integers")
    if (x_step, y_step) != (1, 1):
      raise ImageError(
        path, f"OpenEXR channel {name} is subsampled {x_step}x{y_step}"
      )


def _notice(
  path: str | os.PathLike, parts: list[Part], names: list[str]
) -> None:
  """Tells what of the file is not in the picture."""
  from absl import logging

  file = os.fspath(path)
  if len(parts) > 1:
    logging.warning("%s: the first of %d parts is read", file, len(parts))
  unread = [name for name in parts[0].channels if name not in names]
  if unread:
    logging.warning("%s: channels left out: %s", file, ", ".join(unread))
  primaries = parts[0].chromaticities
  if primaries and not np.allclose(primaries, _REC_709, atol=2e-3):
    logging.warning("%s: read as of sRGB's primaries, has others", file)
