"""The real controller in a world drawn from a seed: virtual time, faults, crashes; and what must hold in it."""
