"""Python contracts; what an author imports (`from ledger.contract import ...`) is defined in `api`.

The front (parse, check, gas, instrument, compile) turns a source into typed, charged code; the back
(layout, storage, interface, execution) gives that code its storage and its doors.
"""

from ledger.contract.api import *  # noqa: F403 - api's __all__ is the list
from ledger.contract.api import __all__  # noqa: F401
