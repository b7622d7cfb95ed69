"""How weights get into memory: huge pages, and what is read before it is asked for."""
