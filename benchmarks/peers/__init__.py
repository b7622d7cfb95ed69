"""llama.cpp and OpenVINO at the decoder's shapes, side by side with ours: see __main__."""
