"""What is promised of a theta_prime, measured where the truth is known: gain, harm, intervals, guard and reasons."""
