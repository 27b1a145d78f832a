"""minichat: a local chat program for the terminal that runs Mistral's models from quantized weights."""
