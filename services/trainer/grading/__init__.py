"""Graders: one definition for reward, evaluation and playground; answers in, scores out.

`build` turns a spec's grader into a function over a batch of samples. A sample that could not be
graded has an error and no score: it is never taken for a score of 0.
"""
