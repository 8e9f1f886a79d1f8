"""Gaussians and pictures of other programs, in this library's terms."""

import pathlib

import imageio.v3 as iio
import numpy as np

from jaxgs.config import RasterSpec
from jaxgs.types import Gaussians2D

DATA = pathlib.Path(__file__).parent / "data"
SIZE = np.array([768, 512])

# Supports there end at tiles; this cutoff comes nearest over the picture.
IMAGE_GS = RasterSpec(top_k=10, cutoff=12.5, epsilon=1e-4)
# It leaves out weights under 1 / 255, and subtracts nothing from the others.
GAUSSIAN_IMAGE = RasterSpec(
  blend="sum", cutoff=float(np.log(255)), edge="sharp"
)


def image_gs():
  """An Image-GS fit, and what its own renderer drew."""
  with np.load(DATA / "imagegs_n2500.npz") as f:
    gaussians = Gaussians2D(
      # Centres there are sampled at integer pixel indices.
      mean=(f["xy"] * SIZE + 0.5).astype(np.float32),
      log_scale=-np.log(np.abs(f["scale"])),
      angle=-f["rot"].reshape(-1),
      log_weight=np.zeros(len(f["rot"]), np.float32),
      feature=f["feat"],
    )
    pictures = {
      "norm": iio.imread(DATA / "imagegs_n2500_norm.png") / 255,
      "sum": np.moveaxis(f["render_sum"] / 65535, 0, -1),
      "twice": np.moveaxis(f["render_topk_2x"] / 65535, 0, -1),
      "crop_yx": f["crop_yx"],
      "crop_2x_yx": f["crop_2x_yx"],
    }
  return gaussians, pictures


def gaussian_image():
  """A GaussianImage fit, and what its own renderer drew."""
  with np.load(DATA / "gaussianimage_n5000.npz") as f:
    l1, l2, l3 = (f["cholesky"] + [0.5, 0.0, 0.5]).T
    covariance = np.array([[l1 * l1, l1 * l2], [l1 * l2, l2 * l2 + l3 * l3]])
    variance, axes = np.linalg.eigh(np.moveaxis(covariance, -1, 0))
    gaussians = Gaussians2D(
      mean=(0.5 * SIZE * (np.tanh(f["xyz"]) + 1) + 0.5).astype(np.float32),
      log_scale=(0.5 * np.log(variance)).astype(np.float32),
      angle=np.arctan2(axes[:, 1, 0], axes[:, 0, 0]).astype(np.float32),
      log_weight=np.zeros(len(l1), np.float32),
      feature=f["features_dc"],
    )
    pictures = {
      "render": np.moveaxis(f["render"] / 65535, 0, -1),
      "crop_yx": f["crop_yx"],
    }
  return gaussians, pictures
