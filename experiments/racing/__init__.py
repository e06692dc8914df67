"""What racing saves and what it costs: searches on real tasks, replayed with and without it."""
