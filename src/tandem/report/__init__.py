"""The report on one competition: one self-contained HTML page, made from the files of the other stages.

One module per section: arrays in, plain values for the page out. `page` renders them with the templates in `assets/`.
"""
