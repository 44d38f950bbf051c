"""Explanation of the predictions for one image: heat maps, word effects, and the terms of each logit."""
