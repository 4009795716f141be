"""The first minute: everything Thetaprime does, once, on synthetic data or on a file of one's own."""
