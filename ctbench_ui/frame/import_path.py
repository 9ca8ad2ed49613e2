"""Let Python's list of places to import from stay as it is while pages are drawn.

Streamlit adds the folder of the script at the front of the list for each run of a page, and removes it afterwards.
Code that goes through the list at that moment in another thread, to import a module or to find a version of a package,
misses a place: numpy is then not installed. A folder that is in the list already is neither added nor removed.
"""

from __future__ import annotations

import sys
from pathlib import Path


def keep(script: Path) -> None:
    """Keep the folder of a script in the list, as its last place, where it hides no other module."""
    folder = str(script.parent.absolute())
    if folder not in sys.path:
        sys.path.append(folder)
