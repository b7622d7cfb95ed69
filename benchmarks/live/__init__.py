"""The live session, measured: what a question about now is answered from, latencies, a soak."""
