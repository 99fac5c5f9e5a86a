"""`python -m monolite` is the command `monolite`."""

import sys

from monolite.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
