"""Local web pages: one labels photos and their captions and explains the labels, one reviews training labels."""
