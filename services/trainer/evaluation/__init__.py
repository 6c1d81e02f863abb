"""BASELINE and EVALUATE: the hold-out answered, graded, compared, judged and shown.

`baseline.py` and `tuned.py` are the two phases. The statistics are pure: scores in, figures out;
a score that is None belongs to an answer that no grader could score, and is left out of every mean
and counted. Shapes in these files: N rows, B resamples, L labels.
"""
