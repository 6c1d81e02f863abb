"""One file per claim about speed or accuracy; each prints a table and writes JSON."""

import sys
from pathlib import Path

# A bench that is run by its path has this folder first on it, and `queue.py` here would hide the
# standard library's from everything that is imported later.
sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
