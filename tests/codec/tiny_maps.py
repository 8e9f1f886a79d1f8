"""What channels are, for `tiny_reader`: sections 3.1, 3.2 and the end of 9."""

import types
import unicodedata
import zlib

import numpy as np

from tests.codec.tiny_columns import valid

P1, P2, P3, P4 = 0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627
P5, P6, P7 = 0.09150303166, 0.9099517204, 596.3148142


def read_maps(reader, head):
  """3.1; `samples`, `curve` and `alpha` are the numbers of the table."""
  valid(not (head.depth or head.ycocg or head.alpha), "the flags say it too")
  maps = [read_map(reader, head) for _ in range(reader.varint(1, head.C))]
  reader.finish()
  valid(sum(m.channels for m in maps) == head.C, "channels of the maps")
  for m in maps:
    if len(maps) > 1 or m.name:
      check_name(m.name)
    else:
      more = m.samples > 1 or m.normals or m.alpha == 2
      valid(more, "the flags could say it")
  folded = {unicodedata.normalize("NFC", m.name).casefold() for m in maps}
  valid(len(folded) == len(maps), "two maps have one name")
  return maps


def read_map(reader, head):
  flags, more = reader.integer(), reader.integer()
  m = types.SimpleNamespace(samples=flags & 3, curve=flags >> 2 & 3)
  m.alpha, m.ycocg, m.normals = flags >> 4 & 3, more & 1, more >> 1
  known = flags < 64 and max(m.curve, m.alpha) < 3 and m.normals < 2
  valid(known, "flags of a map")
  m.channels = reader.varint(1, head.C)
  m.scale, m.peak = (reader.zigzag(8128) if m.curve else 0 for _ in "sp")
  m.name = reader.take(reader.varint(0, 255)).decode()
  m.colours = m.channels - (m.alpha > 0)
  least = 3 if m.ycocg or m.normals else 1
  valid(m.colours >= least, "too few channels of a map")
  valid(not m.curve or (m.samples > 1 and not m.normals), "a curve")
  if m.curve == 1:
    valid(-24 * 64 <= m.peak - m.scale <= 120 * 64, "peak and scale")
  if m.curve == 2:
    valid(-7 * 64 <= m.peak + m.scale <= 14 * 64, "peak and scale")
  return m


def check_name(name):
  good = name and name == name.strip() and "." not in (name[0], name[-1])
  valid(good, "the ends of a name")
  for c in name:
    control = unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")
    valid(c not in "/\\:" and not control, "a character of a name")


def read_profile(reader):
  """3.2."""
  size = reader.varint(1, 2**20)
  packed = reader.take(len(reader.data) - reader.at)
  valid(len(packed) <= 2**16, "a large stream")
  stream = zlib.decompressobj()
  try:
    icc = stream.decompress(packed, size + 1)
  except zlib.error as error:
    raise ValueError(f"not valid: {error}") from error
  valid(stream.eof and not stream.unused_data, "the end of the stream")
  valid(len(icc) == size, "size of the profile")
  return icc


def implied(head):
  """The one picture that the flags describe."""
  return types.SimpleNamespace(
    samples=head.depth,
    curve=0,
    alpha=head.alpha,
    ycocg=head.ycocg,
    normals=0,
    channels=head.C,
    colours=head.C - head.alpha,
    scale=0,
    peak=0,
    name="",
  )


def pu(light):
  power = light**P4
  return P7 * (((P1 + P2 * power) / (1 + P3 * power)) ** P5 - P6)


def light_of(x):
  """The inverse of `pu`."""
  ratio = np.maximum(x / P7 + P6, 0) ** (1 / P5)
  return (np.maximum(ratio - P1, 0) / (P2 - P3 * ratio)) ** (1 / P4)


def finish(v, m):
  """9: from (H, W, channels) in [0, 1] to samples."""
  v, a = v[..., : m.colours], v[..., m.colours :]
  s, p = 2 ** (m.scale / 64), 2 ** (m.peak / 64)
  if m.normals:
    n = 2 * v[..., :3] - 1
    length = np.sqrt((n * n).sum(-1, keepdims=True))
    short = length <= 1e-3
    n = np.where(short, [0, 0, 1], n / np.where(short, 1, length))
    v = np.concatenate([n / 2 + 0.5, v[..., 3:]], -1)
  if m.curve == 1:
    v = s * ((1 + p / s) ** v - 1)
  if m.curve == 2:
    v = light_of((1 - v) * pu(0) + v * pu(s * p)) / s
  if m.alpha == 2:
    levels = 65535 if m.samples else 255
    a = np.rint(a * levels) / levels
    v = np.where(a > 0, v / np.where(a > 0, a, 1), 0)
    v = np.minimum(v, p if m.curve else 1)
  v = np.concatenate([v, a], -1)
  if m.samples < 2:
    return np.rint(v * (255, 65535)[m.samples]).astype(int)
  return np.minimum(v, 65504).astype(np.float16) if m.samples == 2 else v
