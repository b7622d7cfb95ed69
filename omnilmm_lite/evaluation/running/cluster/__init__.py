"""The questions answered on a Ray cluster, from pictures of the driver's."""
