"""flytekit's connector packages: their tasks, fakes of what they stand on, and what must come of each. They are run by
`python tools/compare_connectors.py`, by an interpreter that has the packages.
"""
