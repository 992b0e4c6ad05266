"""What the directories of a TIFF say: walked within bounds, before any library follows them."""
