"""`jaxgs encode-stack`: the maps of a folder to one `.jgs` file."""

from jaxgs.cli.encode import config_of, encode
from jaxgs.cli.folder import largest_size, read_maps, resize_maps
from jaxgs.cli.report import CliError, Report, check_backend
from jaxgs.io import check_writable


def run(args) -> Report:
  """Encodes a folder and measures the file."""
  check_writable(args.output, suffixes=(".jgs",))
  maps = read_maps(args.input, nan=args.nan, profile=args.profile)
  for name in (*(name for name, _ in args.weight), *args.normal):
    if name not in maps:
      raise CliError(f"{args.input}: no map {name!r}, only {', '.join(maps)}")
  for name in args.normal:
    channels = maps[name].pixels.shape[2]
    if channels < 3:
      raise CliError(f"--normal {name}: has {channels} channels, expected 3")
  height, width = largest_size(maps)
  if args.height:
    height, width = args.height, max(1, round(width * args.height / height))
  config = config_of(args, height, width)
  check_backend(config.fit.raster, decode=False)
  maps = resize_maps(maps, (height, width), args.command)

  from jaxgs.stack import stack_job

  try:
    job = stack_job(
      maps,
      config,
      weights=dict(args.weight),
      normals=args.normal,
      curve=args.curve,
      alpha=args.alpha,
    )
  except ValueError as error:
    raise CliError(f"{args.input}: {error}") from error
  return encode(args, job, maps)
