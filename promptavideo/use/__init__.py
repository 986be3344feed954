"""Using boosters away from the workflow: find one, have it rewrite prompts, film them, give it to other programs."""
