"""Give the starter's first two attention layers a head start at copying.

Copying a word from earlier in the text takes two layers: one that notes for each token which token
came before it, and one that looks up the present token among those notes and copies what followed
it there (an induction head: Olsson et al., 2022, "In-context Learning and Induction Heads").
Gradient descent finds this pair after far more than a minute of text, so the weights start near
it and are trained from there like all others.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

IDENTITY_SIZE = 96
"""Hidden dimensions that say which token stands here; the rest hold the note of the one before."""
CONSTANT = 0.5
"""Value of dimension 0 for every token: something to attend by that no token changes."""
EMBEDDING_STD = 0.1
MIN_SHARED_LETTERS = 3
"""Shorter tokens are letters of references and parts of words rather than words."""
OWN_SHARE = 0.3
"""Variance of a spelling's embedding that is its own; the rest it shares with the same word."""
POSITION_SHARPNESS = 1.64
"""Puts about 90 % of the first head's attention on the token before."""
MATCH_SHARPNESS = 2.3
"""Scales queries and keys so that an equal token stands about 12 nats above a random one."""
NOTE_SCALE = 0.11
"""Writes the note about as strongly as the embedding writes the token itself."""
COPY_SCALE = 0.3
"""Writes the copied token about three times as strongly as the token that stands there."""


@torch.no_grad()
def wire_copying(model: LlamaForCausalLM) -> None:
    """Set a previous-token head, three induction heads and three heads that copy.

    Args:
        model: Fresh model with 128 hidden dimensions, tied embeddings and 4 heads of 32 per layer.
    """
    config = model.config
    head_size = config.head_dim
    assert config.hidden_size == IDENTITY_SIZE + head_size, "one head holds the note"
    embedding = model.model.embed_tokens.weight  # [V, H]
    embedding.normal_(0.0, EMBEDDING_STD)
    embedding[:, IDENTITY_SIZE:] = 0.0
    embedding[:, 0] = CONSTANT

    note = torch.zeros(head_size, config.hidden_size)
    note[:, 1:IDENTITY_SIZE] = _orthonormal(head_size, IDENTITY_SIZE - 1)
    theta = config.rope_parameters["rope_theta"]
    _wire_previous_token_head(model.model.layers[0].self_attn, note, theta)
    for head in range(IDENTITY_SIZE // head_size):
        _wire_induction_head(model.model.layers[1].self_attn, note, head)
        _wire_copying_values(model.model.layers[2].self_attn, note, head)


@torch.no_grad()
def share_spellings(model: LlamaForCausalLM, vocabulary: Mapping[str, int]) -> None:
    """Start ` word`, `word` and ` Word` close together, so that a copy may change the spelling.

    Args:
        model: Model that `wire_copying` has seen.
        vocabulary: Byte-level tokens, where `\u0120` is a leading space, to their ids.
    """
    embedding = model.model.embed_tokens.weight  # [V, H]
    first_ids: dict[str, int] = {}
    for token, index in sorted(vocabulary.items()):
        word = token.removeprefix("\u0120").lower()
        if len(word) < MIN_SHARED_LETTERS or not word.isalpha():
            continue
        first = first_ids.setdefault(word, index)
        own = embedding[index, 1:IDENTITY_SIZE]
        shared = embedding[first, 1:IDENTITY_SIZE]
        if first != index:
            own.copy_(OWN_SHARE**0.5 * own + (1.0 - OWN_SHARE) ** 0.5 * shared)


def _wire_previous_token_head(attention: LlamaAttention, note: Tensor, theta: float) -> None:
    size, pairs = note.shape[0], note.shape[0] // 2
    angles = theta ** (-torch.arange(pairs) / pairs)
    query, key = torch.zeros_like(note), torch.zeros_like(note)
    query[:pairs, 0] = POSITION_SHARPNESS
    # Rotating the key by one position more than RoPE does makes it meet the query one token later.
    key[:pairs, 0] = POSITION_SHARPNESS * torch.cos(angles)
    key[pairs:, 0] = POSITION_SHARPNESS * torch.sin(angles)
    attention.q_proj.weight[:size] = query
    attention.k_proj.weight[:size] = key
    attention.v_proj.weight[:size] = note
    attention.o_proj.weight[:, :size] = 0.0
    attention.o_proj.weight[IDENTITY_SIZE:, :size] = NOTE_SCALE * torch.eye(size)


def _wire_induction_head(attention: LlamaAttention, note: Tensor, head: int) -> None:
    size, pairs = note.shape[0], note.shape[0] // 2
    rows = slice(head * size, (head + 1) * size)
    # RoPE turns the upper half of the pairs too slowly to matter within one message: only there
    # can a token be recognised whatever its distance.
    slow = torch.cat([torch.arange(pairs // 2, pairs), torch.arange(pairs + pairs // 2, size)])
    view = MATCH_SHARPNESS * _orthonormal(len(slow), size)
    query, key = torch.zeros_like(note), torch.zeros_like(note)
    query[slow] = view @ note
    key[slow, IDENTITY_SIZE:] = view
    attention.q_proj.weight[rows] = query
    attention.k_proj.weight[rows] = key
    _wire_copying_values(attention, note, head)


def _wire_copying_values(attention: LlamaAttention, note: Tensor, head: int) -> None:
    """Let a head pass on a third of what tokens are, wherever it learns to look."""
    size = note.shape[0]
    rows = slice(head * size, (head + 1) * size)
    value = torch.zeros_like(note)
    value[:, rows] = torch.eye(size)
    value[:, 0] = 0.0
    attention.v_proj.weight[rows] = value
    attention.o_proj.weight[:, rows] = COPY_SCALE * value.T


def _orthonormal(row_count: int, column_count: int) -> Tensor:
    columns: Tensor = torch.linalg.qr(torch.randn(column_count, row_count)).Q
    return columns.T
