"""What this machine has, and what of it this process may use: processor, memory, and the limits of a container."""
