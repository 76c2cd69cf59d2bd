"""Pictures: the signal, and files of it in and out."""
