"""Networks that lie in ONNX files: read, named after their nodes, built from torch modules."""
