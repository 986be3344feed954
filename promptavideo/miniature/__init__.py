"""The laptop's stand-ins: a synthetic world, and a real diffusers pipeline trained on it."""
