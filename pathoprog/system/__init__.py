"""What every part stands on: files, child processes, the console, caches, Ray, fault points, the machine."""
