"""How much several answers at once gain over one after the other."""
