"""What can be fitted and what makes features: learners, networks, training, extractors."""
