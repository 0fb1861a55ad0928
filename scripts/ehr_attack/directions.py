"""The two directions in which an attack flips a prediction. Standard library only, since the Snakefile imports it."""

DIRECTIONS = ("0_to_1", "1_to_0")
"""Survivors flipped to death, and deaths flipped to survival."""
