"""The only door to meta and torch: rows become tensors, theta becomes theta_prime, weights become PDs."""
