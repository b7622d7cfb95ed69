"""`make check-card`: what nobody has seen of the CUDA path, settled on a machine with a card."""
