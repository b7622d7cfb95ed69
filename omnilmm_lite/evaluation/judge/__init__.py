"""What a judge is asked and how its replies are read; nothing here opens a connection."""
