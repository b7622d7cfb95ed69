"""Where pictures come from: cameras, videos, folders, screens, and what somebody puts in."""
