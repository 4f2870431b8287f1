"""Writes a random Llama in transformers' form: python tiny_transformer.py FOLDER. It is what tiny_gguf.py says of its own."""

import sys

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHARACTERS = [chr(code) for code in range(32, 127)]
TOKENS = ["<unk>", "<s>", "</s>"] + CHARACTERS
TEMPLATE = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</{{ message['role'] }}>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"

tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(TOKENS)}, unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
tokenizer.decoder = decoders.Fuse()
PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE, clean_up_tokenization_spaces=False).save_pretrained(sys.argv[1])

torch.manual_seed(7)
model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8,
        max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )
)
with torch.no_grad():
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            weight.normal_(0, 1 if "embed" in name else 1.5 * weight.shape[1] ** -0.5)
    model.lm_head.weight[:3] = 0
model.save_pretrained(sys.argv[1], safe_serialization=True)
