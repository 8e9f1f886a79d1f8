"""The lower half of `tiny_reader`: sections 1, 2 and 4 of the text."""

import bisect
import itertools
import zlib

TAPS = (
  *((0, 0, 0, 0), (2, 1, 1, 1), (2, 2, 2, 2), (3, 3, 2, 2), (4, 3, 3, 2)),
  *((4, 4, 3, 3), (6, 4, 2, 2), (4, 4, 4, 4), (7, 4, 3, 2), (8, 8, 0, 0)),
  *((4, 0, 0, 0), (8, 0, 0, 0), (12, 0, 0, 0), (16, 0, 0, 0)),
)


def valid(condition, what):
  if not condition:
    raise ValueError(f"not valid: {what}")


def clamp(x, low, high):
  return min(max(x, low), high)


def ceil_div(a, b):
  return -(-a // b)


class Reader:
  """1: bytes and varints."""

  def __init__(self, data):
    self.data, self.at = data, 0

  def take(self, count):
    valid(self.at + count <= len(self.data), "it ends early")
    self.at += count
    return self.data[self.at - count : self.at]

  def integer(self, size=1):
    return int.from_bytes(self.take(size), "little")

  def varint(self, low, high):
    value, byte = 0, 128
    for shift in range(0, 63, 7):
      byte = self.integer()
      value |= (byte & 127) << shift
      if byte < 128:
        valid(byte or not shift, "a varint's last byte is 0")
        valid(low <= value <= high, "a varint is out of range")
        return value
    raise ValueError("not valid: varint of more than 9 bytes")

  def zigzag(self, limit):
    z = self.varint(0, 2 * limit)
    return -(z + 1) // 2 if z & 1 else z // 2

  def finish(self):
    valid(self.at == len(self.data), "bytes are left over")


class Bits:
  """4.1: packed bits."""

  def __init__(self, reader):
    self.reader, self.byte, self.left = reader, 0, 0

  def take(self, width):
    value = 0
    for i in range(width):
      if not self.left:
        self.byte, self.left = self.reader.integer(), 8
      value |= (self.byte & 1) << i
      self.byte, self.left = self.byte >> 1, self.left - 1
    return value

  def finish(self):
    valid(not self.byte, "an unused bit is set")


def read_container(data):
  """2."""
  reader, sections, tags = Reader(data), {}, b"HMIPSWF"
  valid(reader.take(5) == b"\x89JGS\x01", "magic or version")
  while reader.at < len(data):
    start, tag = reader.at, reader.take(1)
    valid(tag in tags, "a tag is unknown or out of order")
    tags = tags[tags.index(tag) + 1 :]
    sections[tag.decode()] = Reader(reader.take(reader.varint(0, 2**63)))
    crc = zlib.crc32(data[start : reader.at])
    valid(reader.integer(4) == crc, "CRC")
  valid(set("HPSF") <= set(sections), "a section is missing")
  return sections


def token_range(token):
  """4.2: base and width."""
  u = abs(token)
  width = (u - 8) // 4 + 1 if u >= 8 else 0
  return ((4 + u % 4) << width if u >= 8 else u), width


def power(i, e):
  q = (4 + i % 4) << (i // 4)
  d, p = (q << 31) // (q + 16), 1 << 31
  while e:
    if e & 1:
      p = (p * d) >> 31
    d, e = (d * d) >> 31, e >> 1
  return p


def family(i, tokens, is_gauss):
  weights = []
  for base, width in map(token_range, tokens):
    e = 2 * base + 2**width - 1
    e = min(min(e, 2**20) ** 2 if is_gauss else e, 2**40 - 1)
    weights.append(max(1, power(i, e) << width))
  return weights


def histogram(reader, size):
  k, bits, levels, level = reader.integer(), Bits(reader), [], 0
  valid(k <= 6, "Rice parameter")
  for _ in range(size):
    ones = 0
    while bits.take(1):
      ones += 1
      valid(ones <= 128, "a code is too long")
    z = (ones << k) + bits.take(k)
    level += -(z + 1) // 2 if z & 1 else z // 2
    valid(0 <= level <= 64, "a level is out of range")
    levels.append(level)
  bits.finish()
  valid(any(levels), "all levels are 0")
  return [(4 + (q - 1) % 4) << ((q - 1) // 4) if q else 0 for q in levels]


def frequencies(weights):
  positive, total = sum(w > 0 for w in weights), sum(weights)
  found = [w and 1 + w * (2**14 - positive) // total for w in weights]
  found[weights.index(max(weights))] += 2**14 - sum(found)
  return found


def starts_of(frequency):
  return [0, *itertools.accumulate(frequency)]


def read_table(reader):
  """4.2; a table is its centre, its lowest token and all c(s)."""
  kind, centre = reader.integer(), reader.zigzag(2**40 - 1)
  valid(kind <= 4, "kind of a table")
  if kind == 0:
    return centre, 0, [0, 2**14]
  low = reader.zigzag(155)
  tokens = range(low, low + reader.varint(1, 156 - low))
  if kind == 1:
    return centre, low, starts_of(frequencies(histogram(reader, len(tokens))))
  params = reader.take(3 if kind == 4 else 1)
  valid(max(params[:2]) < 120, "decay")
  weights = family(params[0], tokens, kind == 3)
  if kind == 4:
    a, b, k = weights, family(params[1], tokens, False), params[2]
    sum_a, sum_b = sum(a), sum(b)
    weights = [
      max(1, ((k * x) << 32) // sum_a + (((256 - k) * y) << 32) // sum_b)
      for x, y in zip(a, b, strict=True)
    ]
  return centre, low, starts_of(frequencies(weights))


def read_stream(reader, starts, lanes):
  """4.3; `starts` are the c(s) of every symbol's table, and 2**14."""
  count = len(starts)
  lanes = lanes or 2 ** clamp((count // 1024).bit_length() - 1, 0, 5)
  lanes = max(lanes, ceil_div(count, 65536))
  state = [reader.integer(4) for _ in range(lanes)]
  valid(min(state) >= 2**16, "a first state is out of range")
  out = []
  for i, c in enumerate(starts):
    x = state[i % lanes]
    slot = x & 16383
    # The last of those that start there: the others have frequency 0.
    s = bisect.bisect_right(c, slot) - 1
    x = (c[s + 1] - c[s]) * (x >> 14) + slot - c[s]
    state[i % lanes] = x if x >= 2**16 else x << 16 | reader.integer(2)
    out.append(s)
  valid(set(state) == {2**16}, "a last state is wrong")
  return out


def rank(q, size):
  """4.4: the classes of a context, and their number."""
  order = sorted(q)
  bounds = [order[len(q) * j // size] for j in range(1, size)]
  return [bisect.bisect_right(bounds, value) for value in q], size


def read_column(reader, near, contexts, lanes, channels=1, steps=None):
  """4.4: values by channel, then splat."""
  n, k = len(near), reader.integer()
  chosen = reader.take(channels)
  valid(k < len(contexts) and max(chosen) < len(TAPS), "context or predictor")
  classes, size = contexts[k]
  tables = [read_table(reader) for _ in range(channels * size)]
  used = [tables[c * size + j] for c in range(channels) for j in classes]
  token = [low for _, low, _ in used]
  if any(len(starts) > 2 for _, _, starts in tables):
    symbols = read_stream(reader, [starts for _, _, starts in used], lanes)
    token = [a + b for a, b in zip(token, symbols, strict=True)]
  bits, residual = Bits(reader), []
  for t, (centre, _, _) in zip(token, used, strict=True):
    base, width = token_range(t)
    u = base + bits.take(width)
    residual.append(centre + (-u if t < 0 else u))
  bits.finish()
  out = []
  for c, p in enumerate(chosen):
    values, s = residual[c * n : c * n + n], steps[c] if steps else [1] * n
    for i in range(1, n):
      total = sum(
        t * values[j] * s[j] for t, j in zip(TAPS[p], near[i], strict=True)
      )
      values[i] += (((total + 8) >> 4) + (s[i] >> 1)) // s[i]
    out.append(values)
  return out
