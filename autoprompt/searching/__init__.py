"""The search: candidates, label words, racing, the Optuna study, selection and verdict."""
