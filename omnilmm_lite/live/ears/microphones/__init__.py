"""What sound comes from: a device, a file, or somebody who hands it over."""
