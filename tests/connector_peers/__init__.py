"""What `tools/compare_flytepropeller.py` runs with the real FlytePropeller and with `propeller controller`: workflows
of connector tasks, and the connector service that records what it is asked.
"""
