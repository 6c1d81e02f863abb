"""Make `attune/starter`, a tiny Llama that lets everything real be seen on a laptop.

The model knows a little English-like text and a few general habits (see `starter_text`). It is
never presented as useful: it exists so that a journey from data set to served adapter needs no
download, and it has to fail at a task until that task is tuned into it.

Equal when made twice on one machine with the same libraries; never compared across machines.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from services.trainer.recipes import starter_text

SEED = 20_26
VOCAB_SIZE = 2048
CONTEXT_TOKENS = 1024
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

DIALOGUE_COUNT = 5_000
PASSAGE_COUNT = 500
BLOCK_TOKENS = 256
BATCH_BLOCKS = 8
STEP_COUNT = 150

# Digits go in pairs and the letter of a reference such as K-3920 stands apart from the space
# before it, so that copying one out of a sentence into JSON is copying the same tokens.
WORD_PATTERN = (
    r"[A-Z](?=-?\p{N})|\p{N}{1,2}| ?(?![A-Z]-?\p{N})\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)

# The generation markers tell TRL's assistant_only_loss what to train on: the answer and the
# token that ends it.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}
{%- else -%}
{{- message['content'] + '<|im_end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Train the byte-level BPE tokenizer; any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_tokenizer_text(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START],
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _tokenizer_text() -> Iterator[str]:
    dialogues = starter_text.dialogues(SEED, DIALOGUE_COUNT)
    turns = (f"{turn.role}\n{turn.content}" for turn in chain.from_iterable(dialogues))
    return chain(turns, starter_text.passages(SEED, PASSAGE_COUNT))


def build_model(tokenizer):
    torch.manual_seed(SEED)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB_SIZE,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=32,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
            bos_token_id=None,
            eos_token_id=tokenizer.convert_tokens_to_ids(END),
        )
    )
