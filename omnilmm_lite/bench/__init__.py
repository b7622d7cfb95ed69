"""How fast a bundle runs on this machine, and whether two runs of one model agree."""
