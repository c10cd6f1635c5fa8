"""FITS files: bounded reading of headers, images and check sums."""
