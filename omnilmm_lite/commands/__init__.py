"""The commands that need the runtime alone, a file each: what the command line offers, and what it does."""
