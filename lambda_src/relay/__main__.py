"""Starts the process: `bootstrap` runs this with -I -S; it puts the task folder on the path and leaves the rest to `app`.

Python keeps no compiled file of what it is started with, but parses and compiles it every time, so this is short.
"""

import gc
import os
import sys

# Nothing that an import makes becomes garbage, so looking for it costs 5 % of the start and finds nothing.
gc.disable()
# Behind Python's own folders: most of what is imported is found there, and nothing of the same name here.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from relay.app import main

if __name__ == "__main__":
    sys.exit(main())
