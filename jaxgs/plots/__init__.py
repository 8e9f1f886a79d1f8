"""Pictures of Gaussians and of fits: matplotlib without pyplot.

Functions return `Panel`s, `make_figure` sets them on a page, `write_figure`
puts that in a file.
"""

from jaxgs.plots.curves import curves_figure, read_metrics
from jaxgs.plots.film import check_film, check_film_format, write_film
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
  GREY,
  MAX_IDS,
  centers_panel,
  ellipses_panel,
  error_panel,
  ids_panel,
  map_panel,
  picture_panel,
  to_rgb,
)
from jaxgs.plots.progress import (
  Film,
  draw_frame,
  draw_state,
  splat_colors,
  state_panel,
  stored_rgb,
)

__all__ = [
  "FIGURE_SUFFIXES",
  "GREY",
  "MAX_IDS",
  "Film",
  "Panel",
  "Placed",
  "PlotError",
  "centers_panel",
  "check_film",
  "check_film_format",
  "check_matplotlib",
  "curves_figure",
  "draw_frame",
  "draw_state",
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
  "splat_colors",
  "state_panel",
  "stored_rgb",
  "to_rgb",
  "write_figure",
  "write_film",
]
