"""What Prometheus asks for at `/metrics`."""
