"""The engine for processors: the permutohedral lattice and mean field, compiled by numba."""
