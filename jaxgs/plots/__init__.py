"""Pictures of Gaussians and of fits: matplotlib without pyplot, no jax.

Functions return `Panel`s, `make_figure` sets them on a page, `write_figure`
puts that in a file.
"""

from jaxgs.plots.curves import curves_figure, read_metrics
from jaxgs.plots.film import check_film, write_film
from jaxgs.plots.growth import Placed, placed_since, read_placed, rounds_panel
from jaxgs.plots.layout import (
  FIGURE_SUFFIXES,
  Panel,
  PlotError,
  check_matplotlib,
  figure_pixels,
  make_figure,
  write_figure,
)
from jaxgs.plots.panels import (
  MAX_IDS,
  centers_panel,
  ellipses_panel,
  error_panel,
  ids_panel,
  map_panel,
  picture_panel,
  to_rgb,
)

__all__ = [
  "FIGURE_SUFFIXES",
  "MAX_IDS",
  "Panel",
  "Placed",
  "PlotError",
  "centers_panel",
  "check_film",
  "check_matplotlib",
  "curves_figure",
  "ellipses_panel",
  "error_panel",
  "figure_pixels",
  "ids_panel",
  "make_figure",
  "map_panel",
  "picture_panel",
  "placed_since",
  "read_metrics",
  "read_placed",
  "rounds_panel",
  "to_rgb",
  "write_figure",
  "write_film",
]
