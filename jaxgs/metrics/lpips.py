"""LPIPS: how far two pictures lie apart for a network that knows pictures.

R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric", CVPR 2018, equation 1, with the linear heads of version 0.1.
The weights are not part of this package: `experiments.convert_lpips` makes the
file from those that the authors and torchvision publish.
"""

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs.metrics.color import to_rgb
from jaxgs.metrics.psnr import check_pair
from jaxgs.weights import WHERE, weights_folder

NETWORKS = ("alex", "vgg")


@dataclasses.dataclass(frozen=True)
class LpipsWeights:
  """A network with its heads; a pytree.

  Attributes:
    network: "alex" or "vgg".
    params: nested dict of float32 arrays: of each `conv<i>` the `kernel`
      (H, W, in, out) and the `bias` (out,), of each `head<i>` (C,).
  """

  network: str
  params: dict


jax.tree_util.register_dataclass(
  LpipsWeights, data_fields=["params"], meta_fields=["network"]
)


def lpips(a: jax.Array, b: jax.Array, *, weights: LpipsWeights) -> jax.Array:
  """Learned perceptual distance of each picture.

  Differentiable. Values of the two networks do not compare with each other.

  Args:
    a: (..., H, W, C) float in [0, 1], sRGB, sides of 31 pixels or more (16 for
      "vgg"). One channel is grey, taken three times; a second or fourth is
      straight alpha, and the picture is laid on white.
    b: as `a`.
    weights: from `load_lpips_weights`.

  Returns:
    (...,), of the dtype of `a`, 0 or more; 0 for identical pictures.

  Raises:
    ValueError: shapes or dtypes do not match, C is not 1 to 4, or the pictures
      are too small.
    ImportError: flax is missing.
  """
  check_pair(a, b)
  module = _import_network()
  height, width = a.shape[-3:-1]
  least = module.LEAST_SIDE_PX[weights.network]
  if min(height, width) < least:
    raise ValueError(
      f"LPIPS ({weights.network}) takes pictures from {least}x{least} pixels,"
      f" got {width}x{height}"
    )
  pair = to_rgb(jnp.stack([a, b])).astype(jnp.float32)
  pair = pair.reshape(2, -1, height, width, 3)
  distance = _distance(weights, pair)
  return distance.reshape(a.shape[:-3]).astype(a.dtype)


@jax.jit
def _distance(weights: LpipsWeights, pair: jax.Array) -> jax.Array:
  network = _import_network().Network(weights.network)
  return network.apply({"params": weights.params}, pair)


def load_lpips_weights(
  *, network: str = "alex", path: str | os.PathLike | None = None
) -> LpipsWeights:
  """Reads the weights of LPIPS.

  Args:
    network: "alex" or "vgg".
    path: of a file made by `experiments.convert_lpips`. When None,
      `lpips_<network>.npz` in the folder that the environment variable
      JAXGS_WEIGHTS names, or else in ~/.cache/jaxgs/weights.

  Returns:
    LpipsWeights.

  Raises:
    FileNotFoundError: there is no such file; says where it may be put.
    ValueError: unknown network, or the file is damaged or another network's.
    ImportError: flax is missing.
  """
  if network not in NETWORKS:
    raise ValueError(
      f"network must be one of {', '.join(NETWORKS)}, got {network!r}"
    )
  path = _find(network) if path is None else pathlib.Path(path)
  try:
    # np.load leaves a file open that it opened and cannot read.
    with open(path, "rb") as file, np.load(file) as archive:
      arrays = {name: archive[name] for name in archive.files}
  except FileNotFoundError:
    raise FileNotFoundError(f"{path}: no such file of LPIPS weights") from None
  except (EOFError, TypeError, ValueError, zipfile.BadZipFile):
    # TypeError: a .npy file comes as an array, which cannot be entered.
    raise ValueError(f"{path}: damaged, or not a .npz file") from None
  try:
    return lpips_weights_of(arrays, network=network)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None


def lpips_weights_of(
  arrays: Mapping[str, np.ndarray], *, network: str
) -> LpipsWeights:
  """Weights from the arrays of a file, checked.

  Args:
    arrays: as in LpipsWeights.params, `conv0/kernel` and so on.
    network: "alex" or "vgg".

  Returns:
    LpipsWeights.

  Raises:
    ValueError: an array is missing, too many, of a wrong shape, or not finite.
    ImportError: flax is missing.
  """
  module = _import_network().Network(network)
  picture = jax.ShapeDtypeStruct((2, 1, 64, 64, 3), jnp.float32)
  shapes = jax.eval_shape(module.init, jax.random.key(0), picture)
  wanted, structure = jax.tree.flatten_with_path(shapes["params"])
  wanted = {
    "/".join(part.key for part in where): leaf.shape for where, leaf in wanted
  }
  if different := sorted(wanted.keys() ^ arrays.keys()):
    raise ValueError(f"not the weights of {network}: {different[0]}")
  for name, shape in wanted.items():
    if arrays[name].shape != shape or arrays[name].dtype.kind != "f":
      raise ValueError(
        f"not the weights of {network}: {name} must be {shape} float, got"
        f" {arrays[name].shape} {arrays[name].dtype}"
      )
    if not np.isfinite(arrays[name]).all():
      raise ValueError(f"{name} is not finite")
  leaves = [jnp.asarray(arrays[name], jnp.float32) for name in wanted]
  return LpipsWeights(network, jax.tree.unflatten(structure, leaves))


def _find(network: str) -> pathlib.Path:
  path = weights_folder() / f"lpips_{network}.npz"
  if path.is_file():
    return path
  raise FileNotFoundError(
    f"no {path.name} in {path.parent}: LPIPS needs weights that are not part"
    " of jaxgs. Make the file with `python -m experiments.convert_lpips` and"
    f" put it into {WHERE}"
  )


def _import_network():
  try:
    from jaxgs.metrics import lpips_network
  except ModuleNotFoundError as error:
    if error.name != "flax":
      raise
    raise ImportError(
      "LPIPS needs flax: pip install 'jaxgs[networks]'"
    ) from None
  return lpips_network
