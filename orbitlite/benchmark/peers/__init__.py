"""Networks and regressions of the literature, to measure the network against."""
