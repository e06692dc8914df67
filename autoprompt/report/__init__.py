"""A run on one page, for people: `page` draws what `findings` and `model_facts` found."""
