"""The types of a training history, shared by what trains, what draws and what logs."""

from collections.abc import Callable

# Name of a series → its values; one per epoch where there is a series `epoch`.
History = dict[str, list[float]]
# Called after each epoch with its number, from 1, and its metrics.
OnEpoch = Callable[[int, dict[str, float]], None]
# The folder of the checkpoints of single epochs: in that of a running training, then in the member's.
CHECKPOINTS = "checkpoints"
