"""What the fork server imports once, so that a run starts in about a second."""

import atexit
import gc
import os

import services.trainer.recipes.dpo
import services.trainer.recipes.sft
import services.trainer.run_process  # noqa: F401

# What lives now lives as long as the process: looking at it again in every collection of every
# run would cost a third of a second each time, and copy the shared pages.
gc.collect()
gc.freeze()

# Taking such a process down in order takes a second and makes native libraries complain about
# what they still hold; there is nothing here to save.
atexit.register(os._exit, 0)
