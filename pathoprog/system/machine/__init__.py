"""The machine that the networks run on: devices, precision, compiling, page-locked memory."""
