"""From word log-probabilities to label scores and metrics: arrays, and nothing of Optuna."""
