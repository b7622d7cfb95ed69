"""GPTQ: calibration, the algorithm, the packed format, the report."""
