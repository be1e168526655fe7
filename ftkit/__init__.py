"""ftkit: a from-scratch base model and what adapts it, compares the results and ships one."""

from pathlib import Path

__version__ = "0.1.0"

# In a wheel the floors (basemodel, adapters, ...) lie inside this package; in a checkout they are
# its siblings. Adding the parent folder to the search path makes a bare clone importable as it is.
_here = Path(__file__).parent
if not (_here / "basemodel").is_dir():
    __path__.append(str(_here.parent))
