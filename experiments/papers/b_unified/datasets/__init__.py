"""Sets of images to odd and even sizes."""
