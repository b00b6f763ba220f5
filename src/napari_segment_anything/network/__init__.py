"""SAM in torch: tensors in, tensors out."""
