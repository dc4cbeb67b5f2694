"""The fully connected CRF of Krähenbühl and Koltun (NeurIPS 2011), on the permutohedral lattice."""
