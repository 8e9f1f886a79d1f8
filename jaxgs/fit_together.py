"""Fits images of one size side by side: one vmapped program.

Each image has its own number of Gaussians, its own padding and its own end.
Over several devices the images are shared out with `shard_map`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgs import codec
from jaxgs.compress import with_more_pairs
from jaxgs.config import FitConfig, QuantConfig
from jaxgs.dequantize import DeviceLattice, Transform, host_lattice
from jaxgs.fit import fit_chunk, resolve
from jaxgs.state import FitState, all_active, init_fit, share_of

_AXIS = "images"
_SPLIT = PartitionSpec(_AXIS)

# Called after each chunk with the number of image-steps that it did.
Progress = Callable[[int], None]

# The lattice of the image at a place, from its state when it begins to settle.
LatticeAt = Callable[[int, FitState], codec.Lattice]


class Batch(NamedTuple):
  """What one program fits, with a leading axis of B images.

  Attributes:
    images: (B, H, W, C) float32, padded with zeros.
    masks: (B, H, W) float32, 0 where an image is padding; None where none is.
    num_gaussians: (B,) int32, or None where all use the capacity.
  """

  images: jax.Array
  masks: jax.Array | None
  num_gaussians: jax.Array | None


def fit_together(
  keys: jax.Array,
  batch: Batch,
  config: FitConfig,
  *,
  lattice_at: LatticeAt | None,
  quant: QuantConfig | None,
  transform: Transform,
  devices: Sequence[jax.Device] | None,
  progress: Progress | None,
) -> FitState:
  """Fits one batch to the end: `compress.fit_image` for B images.

  Args:
    keys: (B,).
    batch: B images, as arrays of numpy.
    config: `num_gaussians` is the capacity.
    lattice_at: Called once for each image that begins to settle, with its
      place and its state; None: no rounding.
    quant: See `fit_chunk`.
    transform: Colour transform of the quantiser.
    devices: Of the mesh; None: no mesh.
    progress: See `fit_batch`.

  Returns:
    FitState with a leading axis B, on the host.
  """
  config = resolve(config)
  count = len(batch.images)
  placement = _Placement(devices, count)
  keys, batch = placement.put(keys), placement.put(batch)
  states = _begin(keys, batch, config=config, mesh=placement.mesh)
  lattices, on_device = [None] * count, None
  while True:
    turn = _next_turn(states, config, lattice_at is not None)
    if not turn.live.any():
      return jax.tree.map(lambda leaf: leaf[:count], _to_host(states))
    fresh = [
      i for i in np.flatnonzero(turn.settling[:count]) if lattices[i] is None
    ]
    if fresh:
      host = _to_host(states)
      for i in fresh:
        lattices[i] = host_lattice(lattice_at(int(i), take(host, i)))
      # Any will do for the others: theirs are not in force.
      known = [lattice or lattices[fresh[0]] for lattice in lattices]
      on_device = placement.put(jax.tree.map(lambda *x: np.stack(x), *known))
    new = _advance(
      states,
      turn.live,
      turn.settling,
      np.bool_(turn.grows),
      batch,
      on_device,
      config=config,
      quant=quant,
      transform=transform,
      num_steps=turn.num_steps,
      mesh=placement.mesh,
    )
    if int(new.dropped.max()):
      # Splats were missing from a picture: the same steps again with room.
      config = with_more_pairs(config, batch.images.shape[1:3])
      continue
    states = new
    if progress is not None:
      progress(turn.num_steps * int(turn.live[:count].sum()))


def take(tree, place: int):
  """One image's part of what has a leading axis B."""
  return jax.tree.map(lambda leaf: leaf[place], tree)


def _to_host(states: FitState) -> FitState:
  """As arrays of numpy, the keys as they are."""
  host = jax.device_get(states._replace(key=None))
  return host._replace(key=states.key)


class _Turn(NamedTuple):
  """What comes next.

  Attributes:
    live: (B,) bool, images that are not at their end.
    settling: (B,) bool, images whose lattice is in force.
    num_steps: Until something changes for some image.
    grows: Whether growth or relocation may be due then.
  """

  live: np.ndarray
  settling: np.ndarray
  num_steps: int
  grows: bool


def _next_turn(states: FitState, config: FitConfig, quantizes: bool) -> _Turn:
  step, decay_step = jax.device_get((states.step, states.decay_step))
  # An early stop brings all that follows forward.
  shift = decay_step - config.decay_step
  end, turn = config.num_steps + shift, config.quantize_step + shift
  live = step < end
  if not live.any():
    return _Turn(live, live, 0, False)
  now = step.max()  # Of all that are live.
  chunk = config.chunk_steps
  stops = [now - now % chunk + chunk, *end[live]]
  if quantizes:
    stops += list(turn[live & (turn > now)])
  then = int(min(stops))
  last_growth = config.growth_rounds * config.growth_every
  if config.num_relocated:
    last_growth = max(last_growth, config.relocate_step)
  return _Turn(
    live,
    live & (step >= turn) & quantizes,
    then - int(now),
    then % config.growth_every == 0 and then <= last_growth,
  )


@functools.partial(
  jax.jit, static_argnames=("config", "quant", "transform", "num_steps", "mesh")
)
def _advance(
  states: FitState,
  live: jax.Array,
  settling: jax.Array,
  grows: jax.Array,
  batch: Batch,
  lattices: DeviceLattice | None,
  *,
  config: FitConfig,
  quant: QuantConfig | None,
  transform: Transform,
  num_steps: int,
  mesh: Mesh | None,
) -> FitState:
  """Some steps of all images; those that are not live stay as they are."""

  def one(state, live, settling, grows, batch, lattice):
    new = fit_chunk(
      state,
      batch.images,
      config,
      lattice=lattice,
      quant=quant,
      transform=transform,
      mask=batch.masks,
      num_gaussians=batch.num_gaussians,
      settling=settling,
      grows=grows,
      num_steps=num_steps,
    )
    new = _stopped_early(new, batch, config)
    return jax.tree.map(lambda a, b: jnp.where(live, a, b), new, state)

  function = jax.vmap(one, in_axes=(0, 0, 0, None, 0, 0))
  specs = (_SPLIT, _SPLIT, _SPLIT, PartitionSpec(), _SPLIT, _SPLIT)
  return _shared(function, mesh, specs)(
    states, live, settling, grows, batch, lattices
  )


def _stopped_early(state: FitState, batch: Batch, config: FitConfig):
  """What `fit_image` does with one state between chunks."""
  # Another image of the batch may have cut this one's chunk in two.
  is_whole = state.step % config.chunk_steps == 0
  past = jnp.append(state.past_mse[1:], state.mse)
  state = state._replace(past_mse=jnp.where(is_whole, past, state.past_mse))
  if config.stop_gain_db <= 0:
    return state
  share = share_of(
    config, batch.images.shape[:2], batch.masks, batch.num_gaussians
  )
  # inf before there were as many steps: then the gain is infinite.
  before, now = past[0], jnp.maximum(past[-1], 1e-12)
  stalled = (
    is_whole
    & (state.step < state.decay_step)
    & all_active(state, share)
    & (10.0 * jnp.log10(before / now) < config.stop_gain_db)
  )
  return state._replace(
    decay_step=jnp.where(stalled, state.step, state.decay_step)
  )


@functools.partial(jax.jit, static_argnames=("config", "mesh"))
def _begin(keys, batch: Batch, *, config: FitConfig, mesh: Mesh | None):
  def one(key, batch):
    return init_fit(
      key,
      batch.images,
      config,
      mask=batch.masks,
      num_gaussians=batch.num_gaussians,
    )

  return _shared(jax.vmap(one), mesh, (_SPLIT, _SPLIT))(keys, batch)


def _shared(function: Callable, mesh: Mesh | None, specs) -> Callable:
  """The function of whole batches, each device on its part of the images."""
  if mesh is None:
    return function
  # A kernel's outputs carry no marks of how they vary over the devices.
  return jax.shard_map(
    function, mesh=mesh, in_specs=specs, out_specs=_SPLIT, check_vma=False
  )


class _Placement:
  """Puts arrays of B images where they are used."""

  def __init__(self, devices: Sequence[jax.Device] | None, count: int):
    self.mesh = None
    self.places = np.arange(count)
    if devices:
      self.mesh = Mesh(np.array(devices[:count]), (_AXIS,))
      # Every device gets as many: the last image stands in, and is dropped.
      size = -(-count // self.mesh.size) * self.mesh.size
      self.places = np.minimum(np.arange(size), count - 1)

  def put(self, tree):
    """With stand-ins, on the devices."""
    tree = jax.tree.map(lambda leaf: leaf[self.places], tree)
    if self.mesh is None:
      return jax.tree.map(jnp.asarray, tree)
    return jax.device_put(tree, NamedSharding(self.mesh, _SPLIT))
