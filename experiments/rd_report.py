"""Tables and plots of rate and distortion."""

import math
import pathlib
import statistics
from collections.abc import Sequence

from experiments.rd_curves import (
  Mean,
  Published,
  curve_of,
  gap_between,
  gaps_of_images,
)


def means_table(means: dict[str, list[Mean]]) -> str:
  """A line per codec and point, in Markdown."""
  text = [
    ("codec", "point", "bpp", "PSNR dB", "MS-SSIM", "encode s", "decode s"),
    ["---"] * 8,
  ]
  text[0] += ("images",)
  for codec, points in means.items():
    for m in points:
      images = f"{m.num_all}"
      if not m.is_complete:
        images = f"only {m.num_images} of {m.num_all}"
      figures = (
        *(f"{m.bpp:.4f}", f"{m.psnr_db:.2f}", f"{m.ms_ssim:.4f}"),
        *(f"{m.encode_s:.3g}", f"{m.decode_s:.3g}"),
      )
      text.append((codec, m.point, *figures, images))
  return _markdown(text)


def gaps_table(
  rows: Sequence[dict],
  means: dict[str, list[Mean]],
  published: Sequence[Published],
) -> str:
  """BD-rate and BD-PSNR of the first codec against all others, in Markdown.

  Args:
    rows: Of all codecs.
    means: Of the rows.
    published: Curves of others.

  Returns:
    The table. "of the means" is between the curves of means, at points that
    all images reach; "mean of images" is over the images that have a BD-rate
    of their own.
  """
  test, *others = means
  curve = curve_of(means[test])
  text = [
    (f"{test} against", "BD-rate of the means", "BD-PSNR", "from, to"),
    ["---"] * 5,
  ]
  text[0] += ("mean of images",)
  for codec in others:
    own = gaps_of_images(rows, codec, test)
    of_images = f"{statistics.fmean(own):+.1f} % ({len(own)})" if own else "-"
    text.append((codec, *_gap(curve_of(means[codec]), curve), of_images))
  images = {row["image"] for row in rows}
  for other in published:
    same = images == set(other.images)
    note = "published" if same else "published, of other images"
    text.append((other.name, *_gap(other.points, curve), note))
  return _markdown(text)


def _gap(anchor, test) -> tuple[str, str, str]:
  gap = gap_between(anchor, test)
  if gap is None:
    return "-", "-", "no quality in common"
  psnr = "-" if math.isnan(gap.psnr_db) else f"{gap.psnr_db:+.2f} dB"
  return f"{gap.rate:+.1f} %", psnr, f"{gap.low_db:.1f}, {gap.high_db:.1f} dB"


def _markdown(lines) -> str:
  return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(
  means: dict[str, list[Mean]],
  published: Sequence[Published],
  paths: Sequence[pathlib.Path],
) -> None:
  """Draws PSNR and MS-SSIM over the rate.

  Args:
    means: Of a run; points that not all images reach are left out.
    published: Curves of others, PSNR alone.
    paths: Files to write; the suffix says what.
  """
  from matplotlib.figure import Figure  # An extra of the experiments.

  figure = Figure(figsize=(12, 4.6), layout="constrained")
  left, right = figure.subplots(1, 2)
  top = 0.0
  for i, (codec, points) in enumerate(means.items()):
    points = [m for m in points if m.is_complete]
    rates = [m.bpp for m in points]
    top = max([top, *rates])
    # The one that the run is about stands out.
    style = {"color": f"C{i}", "marker": "o", "linewidth": 2.4 if i == 0 else 1}
    left.plot(rates, [m.psnr_db for m in points], label=codec, **style)
    # As dB: all that matters is close to 1.
    loss = [-10 * math.log10(max(1 - m.ms_ssim, 1e-6)) for m in points]
    right.plot(rates, loss, **style)
  dashes = ("--", ":", "-.")
  for i, other in enumerate(published):
    inside = [p for p in other.points if top == 0 or p[0] <= 1.15 * top]
    if inside:
      left.plot(
        *zip(*inside, strict=True),
        linestyle=dashes[i % len(dashes)],
        color=f"{0.2 + 0.5 * i / len(published):.2f}",
        linewidth=1,
        label=f"{other.name} (published)",
      )
  left.set(xlabel="bits per pixel", ylabel="PSNR, dB")
  right.set(xlabel="bits per pixel", ylabel="MS-SSIM, -10 log10(1 - x)")
  for axis in (left, right):
    axis.grid(True, alpha=0.3)
    axis.set_xlim(left=0)
  # Beside them: the curves leave no room.
  figure.legend(loc="outside right upper", fontsize="small")
  for path in paths:
    figure.savefig(path, dpi=120)
