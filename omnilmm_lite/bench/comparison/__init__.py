"""Two bundles measured in turns, so that a machine that gets slower meanwhile slows them alike."""
