"""`python -m jaxgs.cli`."""

import sys

from jaxgs.cli import main

if __name__ == "__main__":
  sys.exit(main())
