"""The codec: a state dict to bytes and back. It runs no network and knows no signal."""
