"""Checkpoints of Image-GS and GaussianImage as they draw them.

What their renderers do was found by comparing with pictures that they drew
(`tests/convert/peers_test.py`). Both sample at integer pixel indices, so that
half a pixel is added to their centres, and both have rotation matrices with
rows (cos, sin) and (-sin, cos): their angles are the negative of ours.
"""

import os

import numpy as np

from jaxgs.config import RasterSpec
from jaxgs.convert.arrays import open_arrays, require
from jaxgs.convert.drawing import Drawing, check_drawing
from jaxgs.io import ImageError
from jaxgs.types import Gaussians2D

# Standard deviations of Image-GS may be anything, infinite too.
_SMALLEST, _LARGEST = np.exp([-12.0, 12.0])


def kind_of(path: str | os.PathLike) -> str:
  """Whose file it is, by the names of its arrays.

  Args:
    path: Of an `.npz` file or a checkpoint of torch.save.

  Returns:
    "image-gs", "gaussian-image" or "npz".

  Raises:
    ImageError: The file cannot be read, or is none of them.
  """
  names = open_arrays(path).keys()
  if {"mean", "log_scale"} <= names:
    return "npz"
  if {"xy", "scale", "rot", "feat"} <= names:
    return "image-gs"
  if {"xyz", "features_dc"} <= {name.removeprefix("_") for name in names}:
    return "gaussian-image"
  raise ImageError(
    path,
    "its arrays are not those of Image-GS (xy, scale, rot, feat), of"
    " GaussianImage (_xyz, _features_dc, ...) or of jaxgs (mean, ...)",
  )


def read_image_gs(
  path: str | os.PathLike,
  *,
  height: int,
  width: int,
  inverse_scale: bool = True,
  blend: str = "norm",
  gamma: float = 1.0,
) -> Drawing:
  """Reads a checkpoint of Image-GS (Zhang et al. 2025, NYU-ICL/image-gs).

  `xy` are centres over the size of the picture, `scale` inverse standard
  deviations in pixels of any sign, `rot` radians and `feat` colours. The ten
  largest weights of a pixel are normalised with an epsilon of 1e-4. Its
  supports end where 16x16 tiles do; a cutoff at 12.5 comes nearest.

  Args:
    path: Of `ckpt_step-*.pt`, or of an `.npz` file with these arrays.
    height: Of the picture, px; the checkpoint does not say. (It is in the name
      of `gt_res-HEIGHTxWIDTH.png` beside.)
    width: Likewise.
    inverse_scale: False if it was trained with `disable_inverse_scale`.
    blend: "sum" if it was trained with `disable_topk_norm`.
    gamma: As it was trained with.

  Returns:
    A Drawing.

  Raises:
    ImageError: The file is not such a checkpoint, or out of range.
  """
  columns = {"xy": 2, "scale": 2, "rot": 1, "feat": None}
  fields = require(path, open_arrays(path), columns)
  size = np.maximum(np.abs(fields["scale"]), 1e-30)
  if inverse_scale:
    size = 1 / size
  gaussians = _gaussians(
    fields["xy"] * [width, height],
    np.log(size.clip(_SMALLEST, _LARGEST)),
    -fields["rot"][:, 0],
    np.zeros(len(size)),
    fields["feat"],
  )
  raster = RasterSpec(blend=blend, top_k=10, cutoff=12.5, epsilon=1e-4)
  return _checked(path, Drawing(gaussians, height, width, raster, gamma=gamma))


def read_gaussian_image(
  path: str | os.PathLike, *, height: int, width: int
) -> Drawing:
  """Reads a checkpoint of GaussianImage (Zhang et al. 2024), Cholesky or RS.

  `_xyz` are centres before tanh, which is -1 to 1 over the picture; the
  Cholesky factor of the covariance is `_cholesky` + (0.5, 0, 0.5) as its
  entries 11, 21, 22. RS has standard deviations |`_scaling` + 0.5| and the
  angle 2 pi sigmoid(`_rotation`) instead. Colours `_features_dc` are summed;
  weights under 1/255 are left out. What it leaves out silently is drawn here:
  of the list of a tile, all but the first 256 Gaussians.

  Args:
    path: Of `gaussian_model.pth.tar`, not of the training with quantisers, or
      of an `.npz` file with these arrays, the leading underscore or not.
    height: Of the picture, px; the checkpoint does not say.
    width: Likewise.

  Returns:
    A Drawing.

  Raises:
    ImageError: The file is not such a checkpoint, or out of range.
  """
  arrays = {k.removeprefix("_"): v for k, v in open_arrays(path).items()}
  if any(name.startswith("features_dc_quantizer") for name in arrays):
    raise ImageError(
      path, "is of a training with quantisers, which are not read"
    )
  rotated = "cholesky" not in arrays and "scaling" in arrays
  shape = {"scaling": 2, "rotation": 1} if rotated else {"cholesky": 3}
  columns = {"xyz": 2, **shape, "features_dc": None}
  if "opacity" in arrays:
    columns["opacity"] = 1
  fields = require(path, arrays, columns)
  if rotated:
    variance = (fields["scaling"] + 0.5) ** 2
    turn = fields["rotation"][:, 0]
    # Half a turn more or less is the same splat: tanh for sigmoid.
    angle = -np.pi * np.tanh(0.5 * turn)
  else:
    variance, angle = _of_cholesky(fields["cholesky"] + [0.5, 0.0, 0.5])
  opacity = fields.get("opacity", np.ones((len(angle), 1)))[:, 0]
  if not ((opacity > 0) & (opacity <= 1)).all():
    raise ImageError(path, "opacity must be over 0 and at most 1")
  gaussians = _gaussians(
    0.5 * (np.tanh(fields["xyz"]) + 1) * [width, height],
    0.5 * np.log(variance.clip(_SMALLEST**2, _LARGEST**2)),
    angle,
    np.log(opacity),
    fields["features_dc"],
  )
  raster = RasterSpec(
    blend="sum", cutoff=float(np.log(255)), edge="sharp", top_k=0, epsilon=0.0
  )
  return _checked(path, Drawing(gaussians, height, width, raster))


def _of_cholesky(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Variances (N, 2) and angles (N,) of L L^T; factor has l11, l21, l22."""
  l11, l21, l22 = factor.T
  covariance = [[l11 * l11, l11 * l21], [l11 * l21, l21 * l21 + l22 * l22]]
  variance, axes = np.linalg.eigh(np.moveaxis(np.array(covariance), -1, 0))
  return variance, np.arctan2(axes[:, 1, 0], axes[:, 0, 0])


def _gaussians(corner, log_scale, angle, log_weight, feature) -> Gaussians2D:
  """Of centres that count from the centre of the first pixel."""
  return Gaussians2D(corner + 0.5, log_scale, angle, log_weight, feature)


def _checked(path, drawing: Drawing) -> Drawing:
  try:
    return check_drawing(drawing)
  except ValueError as error:
    raise ImageError(path, str(error)) from error
