"""Training: the paper's algorithm, a dense head beside it, and the data that feeds both."""
