"""What the fork server imports once, so that a run starts in about a second."""

import gc

import services.trainer.recipes.sft
import services.trainer.run_process  # noqa: F401

# What lives now lives as long as the process: looking at it again in every collection of every
# run would cost a third of a second each time, and copy the shared pages.
gc.collect()
gc.freeze()
