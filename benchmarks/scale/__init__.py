"""Many machines: what is lost when they die, what a cluster costs, and what a million pictures would take."""
