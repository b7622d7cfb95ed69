"""`omnilmm-lite bench --vram`: whether a bundle fits a card of that size, and whether the plan says so truly."""
