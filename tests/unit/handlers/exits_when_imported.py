"""A package that ends the interpreter when it is imported."""

import sys

sys.exit("this machine is not for it")
