"""Makes a random Llama, a random adapter of it, and what transformers answers with both.

Run as a process of its own: `python tiny_model.py ARTEFACT_ROOT MODEL_ID`. Prints JSON with
`revision` and `adapter_sha256`.
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from services.common.artefacts import Artefacts, write_manifest

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
PROMPTS = ("hello", "my order did not arrive", "what is the quick fox", "help me please", "1 2 3")
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NEW_TOKENS_MAX = 48


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(PROMPTS) * 20, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        chat_template=TEMPLATE,
    )


def make_model(tokenizer):
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,  # vLLM's CPU attention knows no smaller one.
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).float().eval()


def parity_line(model, tokenizer, prompt):
    messages = [{"role": "user", "content": prompt}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    batch = torch.tensor([ids])
    with torch.no_grad():
        out = model.generate(
            input_ids=batch,
            attention_mask=torch.ones_like(batch),
            do_sample=False,
            max_new_tokens=NEW_TOKENS_MAX,
            pad_token_id=tokenizer.pad_token_id,
        )
        logprobs = torch.log_softmax(model(input_ids=out).logits[0], -1)
    answer = out[0, len(ids) :].tolist()
    return {
        "messages": messages,
        "prompt_token_ids": ids,
        "answer_token_ids": answer,
        "answer": tokenizer.decode(answer, skip_special_tokens=True),
        "logprobs": [
            logprobs[len(ids) - 1 + index, token].item() for index, token in enumerate(answer)
        ],
    }


def main(root, model_id):
    torch.manual_seed(0)
    artefacts = Artefacts(Path(root))
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    folder = artefacts.model(model_id) / "r1"
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    write_manifest(folder, {"id": model_id})
    tuned = get_peft_model(
        model, LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS, task_type="CAUSAL_LM")
    )
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:  # Zero by default, which would leave the base as it is.
            torch.nn.init.normal_(parameter, std=0.3)
    staged = artefacts.adapter("staged")
    tuned.save_pretrained(staged)
    lines = [parity_line(tuned, tokenizer, prompt) for prompt in PROMPTS]
    (staged / "parity.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    adapter_sha256 = write_manifest(staged, {"run": "tiny"})
    staged.rename(artefacts.adapter(adapter_sha256))
    print(json.dumps({"revision": "r1", "adapter_sha256": adapter_sha256}))


if __name__ == "__main__":
    main(*sys.argv[1:])
