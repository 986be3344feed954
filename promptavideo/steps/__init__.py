"""The steps of the method, each a function of a run and names: what the scripts call, and anyone else may."""
