"""The version of each method: part of the content key of all that the method makes.

Raise a number when the same data and settings give other results; what was made before is then stale.
"""

CHECK = 3  # tables from CSV files and images: data/check_competition.py
DUPLICATES = 2  # groups of near-duplicates: data/near_duplicates.py
FOLDS = 1  # assignment of groups to folds: data/folds.py
ENCODER = 2  # frozen features: features/
TRAINER = 3  # models of a fold: models/, training/
STACK = 4  # second and third level: ensemble/
DECODER = 3  # label sets, thresholds and scores: decoding/
TUNER = 1  # searches of settings: training/tuning.py
EXTERNAL = 1  # predictions made elsewhere: stages/add_predictions.py
SUBMISSION = 3  # the CSV file: data/submission.py
