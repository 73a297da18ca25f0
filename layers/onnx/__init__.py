"""What layers share to say what they compute in ONNX's operators (`Layer.to_onnx`)."""
