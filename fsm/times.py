"""Moments, in Unix milliseconds: the years 1 to 3999.

The store's scripts write whole numbers of up to 14 digits; what is reckoned from a moment,
such as when nobody is waited for any longer, has room up to there.
"""

from typing import Annotated, Final

from pydantic import Field

MS_MIN: Final = -62_135_596_800_000
MS_MAX: Final = 64_060_588_799_999
RECKONED_MS_MAX: Final = 99_999_999_999_999

Moment = Annotated[int, Field(ge=MS_MIN, le=MS_MAX)]
"""When something happened, or is to happen at a time that was asked for."""
Reckoned = Annotated[int, Field(ge=MS_MIN, le=RECKONED_MS_MAX)]
"""A moment and a wait."""
Wait = Annotated[int, Field(ge=0, le=MS_MAX - MS_MIN)]
"""No longer than from one moment to another."""
