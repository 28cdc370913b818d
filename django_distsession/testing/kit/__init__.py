"""
The tests, a module for each part of the contract.
"""

from __future__ import annotations

from .abilities import Abilities
from .ending import Ending
from .expiry import Expiry
from .faults import Faults
from .interruptions import Interruptions
from .races import Races
from .reading import ReadingAndWriting

__all__ = ["StoreContract"]


# pytest begins with the last one.
class StoreContract(Abilities, Interruptions, Faults, Races, Expiry, Ending, ReadingAndWriting):
    """
    What every store has to keep. Subclass it, as `TestMyStore`, and override the fixture `store`;
    where you can bring faults about, `outage` and `lost_replies` too. See `base.StoreTests`.
    """
