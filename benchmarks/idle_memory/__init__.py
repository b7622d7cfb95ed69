"""What `serve --idle-unload` gives back of memory."""
