"""Few-shot learners compared on credit: the same rows, network, pooled start and supports for each."""
