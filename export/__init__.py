"""From a checkpoint to a bundle: everything that knows checkpoints and ONNX."""
