"""The Hugging Face hub: addresses, look-up, transfers. Only here are sockets opened."""
