"""What happened in a session, as a file: written, read, played again, and as a page."""
