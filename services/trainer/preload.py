"""What the fork server imports once, so that a run starts in about a second."""

import atexit
import gc
import os

# The recipe of answers that are rewarded is left out: with these here it costs a run 0.05 s, and it
# asks for a GPU, which a process that others are forked from must not wake.
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
