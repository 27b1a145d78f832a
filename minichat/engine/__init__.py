"""The model in a process of its own: the protocol, the client and the worker."""
