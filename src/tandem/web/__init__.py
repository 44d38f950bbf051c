"""A page on this machine alone: a photo and a caption in, labels and their reasons out."""
