"""`jaxgs import`: Gaussians of other programs to a `.jgs` or `.npz` file."""

import numpy as np

from jaxgs import codec, convert
from jaxgs.cli.jgs_file import Jgs, check_distinct, draw_jgs_maps, sizes
from jaxgs.cli.report import CliError, Report, check_backend
from jaxgs.config import QuantConfig
from jaxgs.io import check_writable, write_atomic
from jaxgs.transfer import levels_to_float, to_coded


def run(args) -> Report:
  """Reads Gaussians, rounds them and tells what that costs."""
  check_writable(args.output, suffixes=(".jgs", ".npz"))
  drawing = _read(args)
  check_distinct(args.input, args.output)
  num_gaussians = len(drawing.gaussians.angle)
  size = f"{drawing.width}x{drawing.height} pixels"
  if args.output.lower().endswith(".npz"):
    convert.write_npz(args.output, drawing)
    facts = {"file": args.output, "num_gaussians": num_gaussians}
    text = f"{args.output}: {num_gaussians} Gaussians, {size}"
    return Report(text, facts)
  check_backend(drawing.raster, decode=False)
  quant = QuantConfig(coarseness=args.coarseness)
  try:
    data = convert.encode_drawing(drawing, quant=quant)
    exact = convert.render_maps(drawing)
  except ValueError as error:
    raise CliError(f"{args.input}: {error}") from error
  jgs = Jgs(data, *codec.decode(data))
  psnr_db = _psnr_db(jgs, exact, draw_jgs_maps(args.output, jgs))
  write_atomic(args.output, data)
  facts = {"file": args.output, **sizes(jgs), "psnr_db": psnr_db}
  return Report(
    f"{args.output}: {facts['bytes']} bytes, {facts['bpp']:.3f} bpp,"
    f" {facts['num_gaussians']} of {num_gaussians} Gaussians of"
    f" {facts['bits_per_gaussian']:.1f} bits, {size}, {psnr_db:.2f} dB from the"
    " picture before rounding",
    facts,
  )


def _read(args) -> convert.Drawing:
  kind = args.kind or convert.kind_of(args.input)
  if kind == "npz":
    if args.height or args.width:
      raise CliError(f"{args.input} says its size: no --height or --width")
    return convert.read_npz(args.input)
  if not (args.height and args.width):
    raise CliError(
      f"{args.input}: a checkpoint of {kind} does not say how large its picture"
      " is: give --height and --width"
    )
  size = {"height": args.height, "width": args.width}
  if kind == "gaussian-image":
    return convert.read_gaussian_image(args.input, **size)
  return convert.read_image_gs(
    args.input,
    **size,
    inverse_scale=not args.disable_inverse_scale,
    blend="sum" if args.disable_topk_norm else "norm",
    gamma=args.gamma,
  )


def _psnr_db(
  jgs: Jgs, exact: dict[str, np.ndarray], drawn: dict[str, np.ndarray]
) -> float:
  """Of the values that a file stores: under its curves, over all its maps."""
  errors = [
    to_coded(levels_to_float(drawn[one.name]), one)
    - to_coded(levels_to_float(exact[one.name]), one)
    for one in jgs.header.pictures
  ]
  mse = np.mean(np.square(np.concatenate(errors, -1), dtype=np.float64))
  return -10 * float(np.log10(mse)) if mse else np.inf
