"""Live sessions of browsers: frames and sound come in, events and speech go out."""
