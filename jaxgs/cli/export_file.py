"""`jaxgs export`: a `.jgs` file as plain arrays or as vector graphics."""

from jaxgs import convert
from jaxgs.cli.jgs_file import check_distinct, read_jgs
from jaxgs.cli.report import CliError, Report, check_backend
from jaxgs.decompress import spec_of
from jaxgs.io import check_writable, write_atomic


def run(args) -> Report:
  """Writes what a file holds in another form."""
  check_writable(args.output, suffixes=(".npz", ".svg"))
  is_svg = args.output.lower().endswith(".svg")
  if args.mode and not is_svg:
    raise CliError(f"--mode {args.mode} is of an .svg file, not {args.output}")
  if args.sigmas and args.mode != "ellipses":
    raise CliError("--sigmas is of --mode ellipses")
  jgs = read_jgs(args.input)
  check_distinct(args.input, args.output)
  if is_svg:
    check_backend(spec_of(jgs.header), decode=True)
    options = {"mode": args.mode or "gradients"}
    if args.sigmas:
      options["sigmas"] = args.sigmas
    try:
      text = convert.to_svg(jgs.data, **options)
    except ValueError as error:  # Its channels, or too long to draw.
      raise CliError(f"{args.input}: {error}") from error
    write_atomic(args.output, text.encode())
  else:
    convert.write_npz(args.output, convert.decode_drawing(jgs.data))
  header = jgs.header
  return Report(
    f"{args.output}: {header.num_gaussians} Gaussians,"
    f" {header.width}x{header.height} pixels",
    {},
  )
