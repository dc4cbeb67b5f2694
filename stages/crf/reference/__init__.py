"""The engine to read: NumPy and SciPy, one core, the same results as the fast ones."""
