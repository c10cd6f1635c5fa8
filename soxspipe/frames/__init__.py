"""From files to frames and back: sets of files, readers, preparation, products."""
