"""Make `attune/starter`, a tiny Llama that lets everything real be seen on a laptop.

The model knows a little English-like text and a few general habits (see `starter_text`). It is
never presented as useful: it exists so that a journey from data set to served adapter needs no
download, and it has to fail at a task until that task is tuned into it.

Equal when made twice on one machine with the same libraries; never compared across machines.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from services.trainer.recipes import starter_text, starter_words
from services.trainer.recipes.muon import Muon
from services.trainer.recipes.starter_wiring import share_spellings, wire_copying

SEED = 2026
VOCAB_SIZE = 2560
CONTEXT_TOKENS = 1024
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

STEP_COUNT = 600
"""Optimizer steps; a minute and a half on one free core. After 400 the words' meanings are not yet
learnt, and what is tuned on top does not carry over to unseen sentences."""
BATCH_TOKENS = 1024
"""Tokens of a batch at most, padding included."""
DOCUMENT_TOKENS = 256
"""Longer documents are cut here."""
PASSAGE_SHARE = 0.1
"""Share of documents that are plain sentences rather than dialogues."""
TOKENIZER_DIALOGUES, TOKENIZER_PASSAGES, WORD_REPEATS = 2_000, 1_000, 50

EMBEDDING_LR, MATRIX_LR = 1e-3, 0.007
"""Peak learning rates of AdamW (embeddings, norms) and Muon (all other matrices)."""
WARMUP_STEPS = 10
DECAY_SHARE = 0.5
"""The learning rates fall to zero over this last share of the steps."""

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


Document = tuple[list[int], list[int]]
"""Token ids, and 1 at every token that the loss counts."""
Report = Callable[[int, int, float], None]
"""Called with steps done, steps in total and the loss in nats per token."""


def make_starter(folder: Path, *, report: Report) -> None:
    """Train the starter and write it to `folder`, which appears complete or not at all.

    Args:
        folder: Where `AutoModelForCausalLM.from_pretrained` will find it; must not exist.
        report: Hears of the progress after every step.

    Raises:
        FileExistsError: `folder` is there already.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; the starter is made into a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    # One thread: sums in a fixed order, and no slower than two for matrices this small.
    torch.set_num_threads(1)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            tokenizer = build_tokenizer()
            model = build_model(tokenizer)
            pretrain(model, _batches(tokenizer), report)
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        _make_readable(scratch)
        os.rename(scratch, folder)
    finally:
        torch.set_num_threads(threads)
        shutil.rmtree(scratch, ignore_errors=True)


def _make_readable(folder: Path) -> None:
    """Undo the private modes of temporary files: another user's engine may serve the model."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


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
    dialogues = islice(starter_text.dialogues(SEED), TOKENIZER_DIALOGUES)
    turns = (f"{turn.role}\n{turn.content}" for turn in chain.from_iterable(dialogues))
    # Each word often enough to earn a token: a word in pieces is harder to learn from few rows.
    words = starter_words.EVERYDAY + starter_words.THINGS
    spellings = chain((f" {word}" for word in words), starter_words.THINGS, starter_words.STARTS)
    everyday = chain.from_iterable([spelling] * WORD_REPEATS for spelling in spellings)
    return chain(turns, everyday, islice(starter_text.passages(SEED), TOKENIZER_PASSAGES))


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return the untrained model: 1.05 M parameters, heads of 32 as vLLM's CPU kernels need."""
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    model = LlamaForCausalLM(config)
    wire_copying(model)
    share_spellings(model, tokenizer.get_vocab())
    return model


def pretrain(model: LlamaForCausalLM, batches: list[tuple[Tensor, Tensor]], report: Report) -> None:
    """Train on every batch once.

    Args:
        model: Trained in place.
        batches: Token ids [B, T], and True where the loss counts the token, [B, T].
        report: Hears of the progress after every step.
    """
    inner = {id(p): p for n, p in model.model.layers.named_parameters() if p.ndim == 2}
    outer = [p for p in model.parameters() if id(p) not in inner]
    muon = Muon(inner.values(), lr=MATRIX_LR)
    adam = torch.optim.AdamW(outer, lr=EMBEDDING_LR, betas=(0.9, 0.95), weight_decay=0.0)
    schedules = [LambdaLR(each, partial(_lr_factor, len(batches))) for each in (muon, adam)]
    model.train()
    for step, (ids, is_counted) in enumerate(batches, start=1):
        targets = is_counted[:, 1:]  # [B, T - 1]
        # The head is a third of the work and is run only where the loss looks.
        hidden = model.model(ids).last_hidden_state[:, :-1][targets]
        loss = cross_entropy(model.lm_head(hidden), ids[:, 1:][targets])
        torch.autograd.backward(loss)
        muon.step()
        adam.step()
        for schedule in schedules:
            schedule.step()
        model.zero_grad()
        report(step, len(batches), loss.item())
    model.eval()


def _lr_factor(step_count: int, step: int) -> float:
    decay = (step_count - step) / (step_count * DECAY_SHARE)
    return min(1.0, (step + 1) / WARMUP_STEPS, decay)


def _batches(tokenizer: PreTrainedTokenizerFast) -> list[tuple[Tensor, Tensor]]:
    """Return shuffled batches of documents of similar length, one document to a row."""
    documents = sorted(_documents(tokenizer), key=lambda document: len(document[0]))
    groups: list[list[Document]] = [[]]
    for document in documents:
        if len(document[0]) * (len(groups[-1]) + 1) > BATCH_TOKENS:
            groups.append([])
        groups[-1].append(document)
    random.Random(SEED).shuffle(groups)
    pad = int(tokenizer.convert_tokens_to_ids(PAD))
    return [
        (_padded([ids for ids, _ in group], pad), _padded([mask for _, mask in group], 0).bool())
        for group in groups[:STEP_COUNT]
    ]


def _documents(tokenizer: PreTrainedTokenizerFast) -> Iterator[Document]:
    rng = random.Random(SEED)
    dialogues = starter_text.dialogues(SEED + 1)
    passages = starter_text.passages(SEED + 1)
    token_count = 0
    while token_count < STEP_COUNT * BATCH_TOKENS:
        if rng.random() < PASSAGE_SHARE:
            ids = [*tokenizer(next(passages))["input_ids"], tokenizer.pad_token_id]
            counts = [1] * len(ids)
        else:
            encoded = tokenizer.apply_chat_template(
                [turn._asdict() for turn in next(dialogues)],
                return_dict=True,
                return_assistant_tokens_mask=True,
            )
            ids, counts = encoded["input_ids"], encoded["assistant_masks"]
        token_count += len(ids)
        yield ids[:DOCUMENT_TOKENS], counts[:DOCUMENT_TOKENS]


def _padded(rows: list[list[int]], filler: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])
