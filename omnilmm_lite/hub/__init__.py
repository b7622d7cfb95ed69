"""Fetching models: from hubs, mirrors and folders. Nothing else of the program opens a connection."""
