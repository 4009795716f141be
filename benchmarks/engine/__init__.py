"""Engine speed: one meta-batch of second-order MAML, ours and the peers', on one core in one run."""
