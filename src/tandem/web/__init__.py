"""A local web page that labels an uploaded image and its caption, and explains the labels."""
