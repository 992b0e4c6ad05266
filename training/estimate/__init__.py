"""Before a long run: how many steps, hours and bytes it will take, and whether they are there."""
