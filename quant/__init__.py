"""Numbers to blocks: quantization types, the recipe that picks them, and the kernels that apply them."""
