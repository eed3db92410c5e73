"""A small household to try everything on: a base model, speech, sounds, and the whole loop over them."""
