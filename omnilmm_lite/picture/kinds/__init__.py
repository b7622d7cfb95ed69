"""What kind of file it is, by its first bytes, whatever its name says."""
