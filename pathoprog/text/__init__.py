"""Text as it may leave, and numbers in words."""
