"""The vision tower in int8: weights rounded once, activations while it runs. Numerics only; graphs are export's."""
