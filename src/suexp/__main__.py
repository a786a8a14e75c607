"""``python -m suexp`` is ``suexp``."""

import sys

from suexp.cli import main

if __name__ == "__main__":
    sys.exit(main())
