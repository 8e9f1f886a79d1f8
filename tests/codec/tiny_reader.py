"""A `.jgs` decoder written from `jaxgs/codec/FORMAT.md` and nothing else.

It shares no line with jaxgs: where both read the same, the text is complete.
Numbers in docstrings are the sections of the text. Slow, and as short as that
allows; the lower half is `tiny_columns`, `tiny_maps` knows what channels are.
"""

import itertools
import math
import types

import numpy as np

from tests.codec.tiny_columns import (
  Bits,
  ceil_div,
  clamp,
  rank,
  read_column,
  read_container,
  read_stream,
  valid,
)
from tests.codec.tiny_maps import finish, implied, read_maps, read_profile

ROOTS = [math.isqrt(math.isqrt(math.isqrt(1 << (480 + j)))) for j in range(8)]


def read_header(reader, size):
  """3."""
  flags = reader.integer()
  names = ("depth", "sum", "ycocg", "alpha", "has_gamma", "sharp", "aligned")
  bits = [flags & 3, *(flags >> bit & 1 for bit in range(2, 8))]
  head = types.SimpleNamespace(**dict(zip(names, bits, strict=True)))
  valid(head.depth <= 1, "bit depth")
  powers = ("geometry_power", "feature_power", "feature_weight_power")
  vars(head).update(dict.fromkeys(powers, 0), gamma=1024)
  ranges = {"H": (1, 2**16), "W": (1, 2**16), "C": (1, 64), "N": (1, 2**24)}
  ranges |= {"top_k": (0, 255), "cutoff": (1, 65535), "epsilon": (0, 2**32 - 1)}
  ranges |= {"lanes": (0, 65535), "gamma": (1, 65535)}
  ranges |= {"scale_step": (1, 262140), "position_precision": (0, 4096)}
  ranges |= {"angle_precision": (1, 65535), "weight_step": (1, 2**20)}
  for name, (low, high) in ranges.items():
    if name != "gamma" or head.has_gamma:
      setattr(head, name, reader.varint(low, high))
  head.feature_step = [reader.varint(1, 2**20) for _ in range(head.C)]
  for name in powers * head.aligned:
    setattr(head, name, reader.varint(0, 255))
  reader.finish()
  valid(head.H * head.W <= 2**28, "too many pixels")
  valid(not head.has_gamma or head.gamma != 1024, "gamma is 1")
  valid(head.C - head.alpha >= (3 if head.ycocg else 1), "too few channels")
  num_values = head.N * (head.C + 6)
  valid(num_values <= 64 * size + 2**17, "too many values")
  return head


def scaled(step, e):
  """5: S."""
  h = 60 - (-e >> 3)
  return max(1, (step * ROOTS[-e % 8] + (1 << (h - 1))) >> h)


def eighths(octaves):
  return clamp(octaves >> 13, -63, 63)


class Lattice:
  """5; a splat gains attributes of the names in the text."""

  def __init__(self, head):
    self.head, self.A = head, [1024] * 1024
    step, term, k = 0, 2**64, 0
    while term:
      step, k = step + term, k + 1
      term = term * head.scale_step // (k << 16)
    growth = 2**64
    for ratio in range(1024):
      spread = growth - 2**128 // growth
      a = 7244019458077122842 * spread * head.angle_precision
      a = max(1, ceil_div(a, 2**133))
      if a >= 1024:
        break
      self.A[ratio] = a
      growth = (growth * step) >> 64

  def octaves(self, i):
    found = ceil_div(i * self.head.scale_step * 1549082004, 2**30)
    return clamp(found, -(2**21), 2**21)

  def by_scale(self, s):
    head, limit = self.head, 2**20 // self.head.scale_step
    s.minor = s.major - s.ratio
    valid(0 <= s.ratio <= 1023, "a ratio")
    valid(s.major <= min(1023, limit), "a major")
    valid(s.minor >= max(-1024, -limit), "a minor")
    s.area = self.octaves(s.major) + self.octaves(s.minor)
    s.geometry = (head.geometry_power * s.area) >> 8
    factor = scaled(256, -eighths(s.geometry))
    s.levels = clamp((self.A[s.ratio] * factor) >> 8, 1, 1024)
    if s.ratio == 0:
      s.levels = 1
    s.weight_step = scaled(head.weight_step, eighths(s.geometry))

  def by_angle(self, s):
    fine = (self.head.position_precision << 8) + s.geometry
    s.along = s.across = clamp((fine - self.octaves(s.minor)) >> 16, -3, 6)
    if self.head.aligned:
      s.along = clamp((fine - self.octaves(s.major)) >> 16, -3, 6)
    s.turn = s.angle * 2048 // s.levels
    s.steep = bool(self.head.aligned) and 512 <= s.turn < 1536
    s.bits = (s.across, s.along) if s.steep else (s.along, s.across)

  def by_weight(self, s):
    s.b = s.weight * s.weight_step
    e = self.head.feature_weight_power * clamp(s.b, -(2**20), 2**20) >> 8
    e = eighths((self.head.feature_power * s.area >> 8) + e)
    s.feature_steps = [scaled(step, e) for step in self.head.feature_step]


def slope(turn):
  """8."""
  g = (turn + 512) % 1024 - 512
  found = round(4096 * math.tan(g * math.pi / 2048))
  return -found if 512 <= turn < 1536 else found


def give(splats, name, values):
  for s, value in zip(splats, values, strict=True):
    setattr(s, name, value)


def cell_of(place, cols, rows, k):
  """6.1: the curve."""
  u = v = 0
  for i in range(k):
    digit = (place >> (2 * i)) & 3
    du = digit >> 1
    dv = (digit ^ du) & 1
    if dv == 0:
      if du == 1:
        u, v = 2**i - 1 - u, 2**i - 1 - v
      u, v = v, u
    u, v = u + (du << i), v + (dv << i)
  u += (place >> (2 * k)) << k
  valid(u < max(cols, rows) and v < min(cols, rows), "a cell")
  return (u, v) if cols >= rows else (v, u)


def read_cells(reader, head):
  """6.1, the first parts: cells and cell_bits."""
  cell_bits = reader.integer() - 4
  valid(cell_bits <= 8, "cell_bits")
  unit = 2 ** (cell_bits + 4)
  cols, rows = ceil_div(head.W * 16, unit), ceil_div(head.H * 16, unit)
  chain = [[max(n - 1 - i, 0) for i in range(4)] for n in range(head.N)]
  (step,) = read_column(reader, chain, [([0] * head.N, 1)], head.lanes)
  valid(min(step) >= 0, "a step is negative")
  places = list(itertools.accumulate(step))
  k = (min(cols, rows) - 1).bit_length()
  valid(places[-1] < 4**k * ceil_div(max(cols, rows), 2**k), "a place")
  return [cell_of(place, cols, rows, k) for place in places], cell_bits


def find_neighbours(splats):
  """6.1: near and spread."""
  for n, s in enumerate(splats):
    found = []
    for lag in range(32):
      j = max(n - 1 - lag, 0)
      x, y = splats[j].cell
      found.append(((x - s.cell[0]) ** 2 + (y - s.cell[1]) ** 2, lag, j))
    found.sort()
    s.near, s.spread = [j for _, _, j in found[:4]], found[3][0]


def read_positions(reader, splats, cell_bits):
  """6.1, the last part."""
  bits = Bits(reader)
  for s in splats:
    s.position = []
    for c, p in zip(s.cell, s.bits, strict=True):
      r = p + cell_bits
      valid(r >= 0 or c % 2**-r == 0, "a cell is off the lattice")
      s.position.append(c << r | bits.take(r) if r >= 0 else c >> -r)
  bits.finish()
  reader.finish()


def read_uniform(reader, choices, lanes):
  """6.2."""
  several = [k for k in choices if k > 1]
  starts = [[(s << 14) // k for s in range(k + 1)] for k in several]
  found = iter(read_stream(reader, starts, lanes) if several else [])
  return [next(found) if k > 1 else 0 for k in choices]


def read_angles(reader, splats, near, contexts, lanes):
  """6.2."""
  levels, mode = [s.levels for s in splats], reader.integer()
  valid(mode <= 2, "angle mode")
  if mode == 0:
    give(splats, "angle", read_uniform(reader, levels, lanes))
    return
  (bins,) = read_column(reader, near, contexts, lanes)
  valid(min(bins) >= 0 and max(bins) <= 15, "a bin")
  first = list(map(lambda b, n: ceil_div(b * n, 16), bins, levels))
  after = list(map(lambda b, n: ceil_div((b + 1) * n, 16), bins, levels))
  choices = list(map(int.__sub__, after, first))
  valid(min(choices) > 0, "an empty bin")
  give(splats, "angle", first)
  for i, rest in enumerate(read_uniform(reader, choices, lanes)):
    s, j = splats[i], splats[near[i][0]]
    guess = j.angle * s.levels // j.levels if mode == 2 and i else 0
    half = (s.levels + s.levels // 16) // 2
    s.angle = (s.angle + rest - half + guess) % s.levels


def read_splats(sections, head):
  """6."""
  lattice, lanes = Lattice(head), head.lanes
  splats = [types.SimpleNamespace(weight=0) for _ in range(head.N)]
  cells, cell_bits = read_cells(sections["P"], head)
  give(splats, "cell", cells)
  find_neighbours(splats)
  near, shape = [s.near for s in splats], sections["S"]
  contexts = [([0] * head.N, 1)]
  contexts += [rank([s.spread for s in splats], k) for k in (2, 4)]
  for name in ("major", "ratio"):
    (values,) = read_column(shape, near, contexts, lanes)
    give(splats, name, values)
    contexts += [rank(values, 2), rank(values, 4)]
  for s in splats:
    lattice.by_scale(s)
  by_ratio = [contexts[0], *contexts[-2:]]
  read_angles(shape, splats, near, by_ratio, lanes)
  shape.finish()
  for s in splats:
    lattice.by_angle(s)
  read_positions(sections["P"], splats, cell_bits)
  if head.aligned:
    area = [2 * s.major - s.ratio for s in splats]
    contexts += [rank(area, k) for k in (2, 4, 8)]
  if reader := sections.get("W"):
    steps = [[s.weight_step for s in splats]] if head.aligned else None
    (values,) = read_column(reader, near, contexts, lanes, 1, steps)
    give(splats, "weight", values)
    reader.finish()
  for s in splats:
    lattice.by_weight(s)
  steps = [[s.feature_steps[c] for s in splats] for c in range(head.C)]
  steps = steps if head.aligned else None
  reader = sections["F"]
  values = read_column(reader, near, contexts, lanes, head.C, steps)
  give(splats, "feature", zip(*values, strict=True))
  reader.finish()
  return splats


def check_limits(head, s):
  """7."""
  for i, size, p in zip(s.position, (head.W, head.H), s.bits, strict=True):
    valid(0 <= i < ceil_div(size << (p + 3), 8), "a splat is outside the image")
  valid(abs(s.weight) <= min(2**22 // head.weight_step, 2**24), "a weight")
  valid(abs(s.b) <= 2**22, "a log-weight")
  for c, (value, step) in enumerate(
    zip(s.feature, s.feature_steps, strict=True)
  ):
    limit = min(2**31 // head.feature_step[c], 2**24)
    valid(abs(value) <= limit and abs(value * step) <= 2**31, "a feature")


def dequantise(head, s):
  """8: a splat gains centre, log_scale, log_weight, theta and f."""
  share, m = 0.5, 13 + s.along - s.across
  i, j = s.position[::-1] if s.steep else s.position
  if head.aligned:
    share = slope(s.turn) * (2 * i + 1) % 2**m / 2**m
  centre = ((i + 0.5) * 2.0**-s.along, (j + share) * 2.0**-s.across)
  s.centre = centre[::-1] if s.steep else centre
  s.log_scale = [v * head.scale_step / 2**16 for v in (s.major, s.minor)]
  s.log_weight, s.theta = s.b / 2**16, s.angle * math.pi / s.levels
  s.f = [
    v * step / 2**16 for v, step in zip(s.feature, s.feature_steps, strict=True)
  ]
  c = 0
  for one in head.maps:
    if one.ycocg:
      y, co, cg = s.f[c : c + 3]
      s.f[c : c + 3] = y - cg / 2 + co / 2, y + cg / 2, y - cg / 2 - co / 2
    c += one.channels


def decode(data):
  """The header, and the splats with all their symbols and values."""
  sections = read_container(data)
  head = read_header(sections["H"], len(data))
  head.maps = [implied(head)]
  if "M" in sections:
    head.maps = read_maps(sections["M"], head)
  head.icc = read_profile(sections["I"]) if "I" in sections else b""
  splats = read_splats(sections, head)
  for s in splats:
    check_limits(head, s)
    dequantise(head, s)
  return head, splats


def values(splats, name):
  return np.array([getattr(s, name) for s in splats])


def draw(head, splats, scale=1.0):
  """9: (H, W, channels) of each map, by name."""
  width, height = (max(1, round(s * scale)) for s in (head.W, head.H))
  sharp = np.exp(2 * np.clip(values(splats, "log_scale"), -5, 12)) * scale**2
  v1, v2 = (sharp + max(0, 1 - scale**2) / 12).T
  logw = values(splats, "log_weight") + np.log(sharp.prod(1) / (v1 * v2)) / 2
  theta, f = values(splats, "theta"), values(splats, "f")
  mu = values(splats, "centre") * scale
  cos, sin = np.cos(theta), np.sin(theta)
  tau, eps = np.exp(-head.cutoff / 256), head.epsilon / 2**24
  out = np.zeros((height, width, head.C))
  for row, column in np.ndindex(height, width):
    p = np.array([column, row]) + 0.5
    dx, dy = (p - mu).T
    e = ((dx * cos + dy * sin) ** 2 / v1 + (dy * cos - dx * sin) ** 2 / v2) / 2
    raw = np.exp(logw - e)
    w = np.where(raw > tau, raw - (0 if head.sharp else tau), 0)
    if not head.sum and head.top_k:
      w[np.argsort(-w, kind="stable")[head.top_k :]] = 0
    total = 1 if head.sum else w.sum() + eps
    out[row, column] = w @ f / total if total else 0
  out = np.clip(out, 0, 1) ** (1024 / head.gamma)
  ends = list(itertools.accumulate(one.channels for one in head.maps))
  parts = np.split(out, ends[:-1], axis=-1)
  return {
    one.name: finish(part, one)
    for one, part in zip(head.maps, parts, strict=True)
  }
