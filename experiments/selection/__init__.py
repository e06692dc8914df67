"""Which selection rule returns the best prompts: simulated searches on real tasks."""
