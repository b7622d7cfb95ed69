"""Several answers at once, ours and llama-server's: see __main__."""
