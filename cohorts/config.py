"""Settings of the statisticians' commands."""
