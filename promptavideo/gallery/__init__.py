"""The gallery: a page on which the videos of the evaluation play beside each other, with their texts and scores."""
