"""The stages of a session, which never wait for each other."""
