"""The grid of tiles."""


def num_tiles(height: int, width: int, tile: int) -> tuple[int, int]:
  """Rows and columns of tiles that cover an image of height x width px."""
  return -(-height // tile), -(-width // tile)
