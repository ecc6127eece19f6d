"""Numbers with a bound, for options: msgspec refuses others, and what is no number (NaN), when it reads a file or the
environment, and names the field and the bound.

Caveats
    Constructors check nothing of it: code and tests may make options that no file can.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
NonNegativeInt = Annotated[int, msgspec.Meta(ge=0)]
