"""What each command is called with: its arguments, options and help, and nothing else.

A module here imports click and light modules only, so that help, completion and wrong calls take no longer than Python
itself; what a command does is a module of `propeller.cli`, imported when it is called.
"""

from __future__ import annotations
