"""Fits images of any sizes: those of like sizes in one program."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from jaxgs import codec
from jaxgs.buckets import Buckets, Part
from jaxgs.config import FitConfig, QuantConfig
from jaxgs.dequantize import Transform
from jaxgs.fit_together import Batch, Progress, fit_together, take
from jaxgs.state import FitState


def fit_batch(
  keys: jax.Array,
  images: Sequence[jax.Array],
  config: FitConfig,
  masks: Sequence[jax.Array] | None = None,
  *,
  num_gaussians: Sequence[int] | None = None,
  lattice: codec.Lattice | None = None,
  quant: QuantConfig | None = None,
  transform: Transform = "none",
  devices: Sequence[jax.Device] | None = None,
  progress: Progress | None = None,
) -> list[FitState]:
  """Fits many images, those of like sizes in one program.

  Each ends as `fit_image` would end with it alone, its early stop included, up
  to the rounding of sums and, where sizes differ, another draw of the first
  centres.

  Args:
    keys: (B,) PRNG keys, one per image.
    images: B images (H, W, C) float32 in [0, 1], of any sizes.
    config: Settings, `num_gaussians` aside where that is given.
    masks: B masks (H, W), 0 where a pixel does not count; centres stay within
      the rows and columns that some pixel counts in. All count when None.
    num_gaussians: B numbers of Gaussians; `config.num_gaussians` when None.
    lattice: Round to it as `fit_image` does.
    quant: See `fit_chunk`.
    transform: Colour transform of the quantiser.
    devices: Share the images of a program among these; when None, among all
      GPUs of this process if there are several, else on the default device.
    progress: Called after each chunk with the image-steps that it did.

  Returns:
    The last state of each image, as arrays of numpy (but for the key), in the
    order of the images. Parameters are not rounded yet.

  Raises:
    ValueError: More Gaussians than pixels, an image that is not (H, W, C), or
      lists of different lengths.
  """
  images = [np.asarray(image, np.float32) for image in images]
  if masks is not None:
    masks = [np.asarray(mask, np.float32) for mask in masks]
  if num_gaussians is None:
    num_gaussians = [config.num_gaussians] * len(images)
  _check(keys, images, masks, num_gaussians)
  devices = devices or default_devices()
  parts, buckets = [], buckets_for(devices)
  for i, image in enumerate(images):
    parts += buckets.add(
      i,
      size=image.shape[:2],
      num_gaussians=num_gaussians[i],
      num_steps=config.num_steps,
      like=image.shape[2],
    )
  results = [None] * len(images)
  for part in parts + buckets.rest():

    def chosen(values, items=part.items):
      return [values[i] for i in items]

    states = fit_together(
      keys[np.array(part.items)],
      batch_of(
        part,
        chosen(images),
        chosen(num_gaussians),
        None if masks is None else chosen(masks),
      ),
      dataclasses.replace(config, num_gaussians=part.num_gaussians),
      lattice_at=None if lattice is None else lambda place, state: lattice,
      quant=quant,
      transform=transform,
      devices=devices,
      progress=progress,
    )
    for place, i in enumerate(part.items):
      results[i] = _without_spare(take(states, place), num_gaussians[i])
  return results


def _check(keys, images, masks, num_gaussians) -> None:
  """Checks the lists that `fit_batch` takes."""
  lists = {"keys": keys, "masks": masks, "num_gaussians": num_gaussians}
  for name, values in lists.items():
    if values is not None and len(values) != len(images):
      raise ValueError(
        f"{name} must be {len(images)} like images, got {len(values)}"
      )
  for i, (image, n) in enumerate(zip(images, num_gaussians, strict=True)):
    if image.ndim != 3 or image.size == 0:
      raise ValueError(f"images[{i}] must be (H, W, C), got {image.shape}")
    pixels = image.shape[0] * image.shape[1]
    if not 1 <= n <= pixels:
      raise ValueError(
        f"num_gaussians[{i}] must be in 1..{pixels} (the pixels of the image),"
        f" got {n}"
      )
    if masks is not None and np.shape(masks[i]) != image.shape[:2]:
      raise ValueError(
        f"masks[{i}] must be {image.shape[:2]}, got {np.shape(masks[i])}"
      )


def default_devices() -> list[jax.Device] | None:
  """All GPUs of this process if there are several; None: the default device."""
  devices = jax.local_devices()
  several = len(devices) > 1 and devices[0].platform == "gpu"
  return devices if several else None


def buckets_for(devices: Sequence[jax.Device] | None) -> Buckets:
  """Empty buckets, of a size that suits the devices."""
  return Buckets(
    devices[0].platform if devices else jax.default_backend(),
    len(devices or [None]),
  )


def batch_of(
  part: Part,
  images: Sequence[np.ndarray],
  num_gaussians: Sequence[int],
  masks: Sequence[np.ndarray] | None = None,
) -> Batch:
  """Pads and stacks the images of a part, as arrays of numpy."""
  height, width = part.size

  def stacked(arrays):
    shape = (len(arrays), height, width, *arrays[0].shape[2:])
    out = np.zeros(shape, np.float32)
    for place, array in enumerate(arrays):
      out[place, : array.shape[0], : array.shape[1]] = array
    return out

  if masks is None and part.is_padded:
    masks = [np.ones(image.shape[:2], np.float32) for image in images]
  return Batch(
    images=stacked(images),
    masks=None if masks is None else stacked(masks),
    num_gaussians=np.int32(num_gaussians) if part.is_uneven else None,
  )


def _without_spare(state: FitState, num_gaussians: int) -> FitState:
  """The state without the room that only other images needed."""

  def cut(tree):
    # Slots fill from the first; Adam's count of steps is no array of N.
    return jax.tree.map(lambda x: x[:num_gaussians] if x.ndim else x, tree)

  return state._replace(
    gaussians=cut(state.gaussians),
    active=cut(state.active),
    moments=cut(state.moments),
  )
