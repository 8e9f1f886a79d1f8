"""The `jaxgs` command: encode, encode-batch, decode, info, eval.

Decoding takes less time than an import of jax, so what only some commands need
is imported where they need it.
"""

import dataclasses
import math
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxgs import codec
from jaxgs.arguments import make_parser
from jaxgs.codec.header import GAMMA_ONE
from jaxgs.config import CompressConfig, default_num_gaussians, preset
from jaxgs.decompress import MAX_PIXELS, draw, output_size, spec_of
from jaxgs.io import (
  Image,
  ImageError,
  check_format,
  check_writable,
  read_image,
  write_atomic,
  write_samples,
)
from jaxgs.report import CliError, Report, check_backend, complain, show

# In what jax says when the user's machine or settings are at fault.
_USER_FAULTS = (
  "RESOURCE_EXHAUSTED",  # XLA's word for out of memory.
  "Unable to initialize backend",
  "Unknown backend",
)


def _check_distinct(source: str, target: str) -> None:
  """A suffix proves nothing, so the output could be the input."""
  if os.path.exists(target) and os.path.samefile(source, target):
    raise CliError(f"{target}: is the input")


class _Jgs(NamedTuple):
  """A file that was read."""

  data: bytes
  header: codec.Header
  symbols: codec.Symbols


def _read_jgs(path: str) -> _Jgs:
  try:
    data = pathlib.Path(path).read_bytes()
    if not data:
      raise CliError(f"{path}: empty file")
    return _Jgs(data, *codec.decode(data))
  except OSError as error:
    raise CliError(f"{path}: {error.strerror or error}") from error
  except codec.BitstreamError as error:
    raise CliError(f"{path}: {error}") from error


def _is_jgs(path: str) -> bool:
  try:
    with open(path, "rb") as file:
      return file.read(len(codec.MAGIC)) == codec.MAGIC
  except OSError:
    return False  # The reader of images says what is wrong.


def _draw(path: str, jgs: _Jgs, **options) -> np.ndarray:
  """A file's picture as integers."""
  try:
    return draw(jgs.header, jgs.symbols, **options)
  except codec.BitstreamError as error:  # It would take too long to draw.
    raise CliError(f"{path}: {error}") from error


def _to_float(samples: np.ndarray) -> np.ndarray:
  return samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)


def _scores(reference: np.ndarray, pixels: np.ndarray) -> dict:
  import jax.numpy as jnp

  from jaxgs import metrics

  a, b = jnp.asarray(reference), jnp.asarray(pixels)
  return {
    "psnr_db": float(metrics.psnr(a, b)),
    "ssim": float(metrics.ssim(a, b)),
    "ms_ssim": float(metrics.ms_ssim(a, b)),
  }


def _progress(config: CompressConfig, quiet: bool):
  """A bar on the terminal, and the function that moves it."""
  import tqdm

  # None: only where stderr is a terminal.
  bar = tqdm.tqdm(
    total=config.fit.num_steps, unit="step", disable=True if quiet else None
  )

  def report(state) -> None:
    step = int(state.step)
    if step < bar.n:  # A search for a target begins another fit.
      bar.reset()
    psnr = -10 * np.log10(max(float(state.mse), 1e-12))
    text = f"{psnr:.2f} dB, {int(state.active.sum())} Gaussians"
    bar.set_postfix_str(text, refresh=False)
    bar.update(step - bar.n)

  return bar, report


def _run_encode(args) -> Report:
  check_writable(args.output, suffixes=(".jgs",))
  image = read_image(args.input)
  _check_distinct(args.input, args.output)
  height, width, _ = image.pixels.shape
  n = args.num_gaussians or default_num_gaussians(height, width)
  if n > height * width:
    raise CliError(
      f"--num_gaussians {n} is more than the {height * width} pixels of"
      f" {args.input}"
    )
  config = preset(args.preset, num_gaussians=n, num_steps=args.steps)
  check_backend(config.fit.raster, decode=False)
  began = time.perf_counter()
  data = _compress(args, image, config)
  seconds = time.perf_counter() - began
  write_atomic(args.output, data)
  jgs = _Jgs(data, *codec.decode(data))
  facts = {
    "file": args.output,
    **_sizes(jgs),
    **_scores(image.pixels, _to_float(_draw(args.output, jgs))),
    "seconds": seconds,
  }
  return Report(
    f"{args.output}: {facts['bytes']} bytes, {facts['bpp']:.3f} bpp,"
    f" {facts['num_gaussians']} Gaussians of {facts['bits_per_gaussian']:.1f}"
    f" bits, PSNR {facts['psnr_db']:.2f} dB, SSIM {facts['ssim']:.4f},"
    f" {seconds:.1f} s",
    facts,
  )


def _compress(args, image: Image, config: CompressConfig) -> bytes:
  """The file, of the size or quality that is asked for."""
  import jax

  from jaxgs.compilation_cache import use_compilation_cache
  from jaxgs.compress import compress
  from jaxgs.rate_control import (
    TargetError,
    compress_to_psnr,
    compress_to_size,
  )

  use_compilation_cache()
  bar, report = _progress(config, args.json)
  options = {
    "key": jax.random.key(args.seed),
    "report": report,
    "bit_depth": image.bit_depth,
    "has_alpha": image.has_alpha,
  }
  pixels = image.pixels
  height, width, _ = pixels.shape
  try:
    with bar:
      if args.bpp:
        size = max(1, round(args.bpp * height * width / 8))
        return compress_to_size(pixels, size, config, **options)
      if args.psnr:
        return compress_to_psnr(pixels, args.psnr, config, **options)
      return compress(pixels, config, **options)
  except TargetError as error:
    asked = f", --bpp {args.bpp:g} of {width}x{height}" if args.bpp else ""
    raise CliError(f"{args.input}{asked}: {error}") from error


def _run_decode(args) -> Report:
  check_writable(args.output)
  jgs = _read_jgs(args.input)
  header = jgs.header
  _check_distinct(args.input, args.output)
  began = time.perf_counter()
  scale = args.height / header.height if args.height else args.scale
  height, width = output_size(header, scale)
  x, y, w, h = args.crop or (0, 0, width, height)
  if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
    raise CliError(
      f"--crop {x},{y},{w},{h} is not within the {width}x{height} pixels of"
      " the picture"
    )
  if h * w > MAX_PIXELS:
    raise CliError(f"{w}x{h} is over the limit of {MAX_PIXELS} pixels")
  check_format(args.output, (h, w, header.channels), has_alpha=header.has_alpha)
  check_backend(spec_of(header), decode=True)
  samples = _draw(args.input, jgs, scale=scale, crop=(x, y, w, h))
  write_samples(args.output, samples, has_alpha=header.has_alpha)
  seconds = time.perf_counter() - began
  return Report(f"{args.output}: {w}x{h} pixels, {seconds:.1f} s", {})


def _sizes(jgs: _Jgs) -> dict:
  size, header = len(jgs.data), jgs.header
  return {
    "bytes": size,
    "bpp": 8 * size / (header.height * header.width),
    "num_gaussians": header.num_gaussians,
    "bits_per_gaussian": 8 * size / header.num_gaussians,
  }


def _settings(header: codec.Header) -> dict:
  """A header in the units of jaxgs.config, where the file has integers."""
  facts = dataclasses.asdict(header)
  lattice = facts.pop("lattice")
  return facts | {
    "cutoff": header.cutoff / 256,
    "epsilon": header.epsilon / 2**24,
    "gamma": header.gamma / GAMMA_ONE,
    "scale_step": lattice.scale_step / 2**16,
    "position_precision": lattice.position_precision / 256,
    "angle_step": 256 / lattice.angle_precision,
    "weight_step": lattice.weight_step / 2**16,
    "feature_step": [step / 2**16 for step in lattice.feature_step],
    "adaptive": bool(lattice.aligned),
    "geometry_power": lattice.geometry_power / 256,
    "feature_power": lattice.feature_power / 256,
    "feature_weight_power": lattice.feature_weight_power / 256 * math.log(2),
  }


def _run_info(args) -> Report:
  if args.backends:
    return _describe_backends()
  jgs = _read_jgs(args.input)
  data, header = jgs.data, jgs.header
  facts = _settings(header) | _sizes(jgs)
  lines = [f"{name:20} {_shown(value)}" for name, value in facts.items()]
  sections = codec.section_sizes(data)
  bits = {k: 8 * v / header.num_gaussians for k, v in sections.items()}
  lines += ["", f"{'section':20} {'bytes':>8} {'bits per Gaussian':>18}"]
  lines += [f"{k:20} {v:8} {bits[k]:18.2f}" for k, v in sections.items()]
  facts["section_bytes"] = sections
  facts["section_bits_per_gaussian"] = bits
  return Report("\n".join(lines), facts)


def _describe_backends() -> Report:
  """Which backends of the rasteriser there are, and why not the others."""
  from jaxgs.availability import availability

  facts = availability()
  library = facts["native_library"]
  if not library:
    library = f"{facts['instruction_set']}, {facts['num_threads']} threads"
  lines = [
    f"{'jax':12} {facts['jax']} on {facts['platform']}",
    f"{'native code':12} {library}",
  ]
  for name, fault in facts["backends"].items():
    default = ", the default" if name == facts["default"] else ""
    lines.append(f"{name:12} {fault or 'available' + default}")
  return Report("\n".join(lines), facts)


def _shown(value) -> str:
  if isinstance(value, list):
    return ", ".join(_shown(item) for item in value)
  return f"{value:.4g}" if isinstance(value, float) else str(value)


def _run_eval(args) -> Report:
  reference = read_image(args.reference).pixels
  height, width, channels = reference.shape
  is_jgs = _is_jgs(args.input)
  if is_jgs:
    jgs = _read_jgs(args.input)
    header = jgs.header
    size = len(jgs.data)
    shape = (header.height, header.width, header.channels)
  else:
    pixels = read_image(args.input).pixels
    size, shape = os.path.getsize(args.input), pixels.shape
  # Before drawing: a small file may declare a picture of any size.
  if shape != reference.shape:
    raise CliError(
      f"{args.input} is {shape[1]}x{shape[0]} with {shape[2]} channels,"
      f" {args.reference} is {width}x{height} with {channels}"
    )
  if is_jgs:
    check_backend(spec_of(header), decode=True)
    pixels = _to_float(_draw(args.input, jgs))
  facts = {
    "bytes": size,
    "bpp": 8 * size / (height * width),
    **_scores(reference, pixels),
  }
  return Report(
    f"PSNR {facts['psnr_db']:.2f} dB, SSIM {facts['ssim']:.4f}, MS-SSIM"
    f" {facts['ms_ssim']:.4f}, {facts['bpp']:.3f} bpp",
    facts,
  )


def _run_encode_batch(args) -> Report:
  from jaxgs.encode_batch import run

  return run(args)


_COMMANDS = {
  "encode": _run_encode,
  "encode-batch": _run_encode_batch,
  "decode": _run_decode,
  "info": _run_info,
  "eval": _run_eval,
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments without the program's name; those of the process when
      None.

  Returns:
    The exit code: 0, or 1 where the work failed. A mistake in the arguments
    exits with 2.
  """
  args = make_parser().parse_args(argv)
  # Other exceptions are faults of the program and keep their traceback.
  try:
    report = _COMMANDS[args.command](args)
    show(report, getattr(args, "json", False))
    return report.code
  except (CliError, codec.BitstreamError, ImageError, OSError) as error:
    return _complain(args, str(error))
  except MemoryError as error:
    return _complain(args, f"out of memory: {error}")
  except RuntimeError as error:
    if not any(words in str(error) for words in _USER_FAULTS):
      raise
    return _complain(args, str(error))
  except KeyboardInterrupt:
    print(f"jaxgs {args.command}: interrupted", file=sys.stderr)
    return 130


def _complain(args, message: str) -> int:
  complain(args.command, message)
  return 1


if __name__ == "__main__":
  sys.exit(main())
