"""Writes a random Llama of 8 layers as GGUF: python tiny_gguf.py FILE

Its tokens are the printable characters of ASCII, so that a text has one tokenisation and may be cut anywhere. Rows of its output for
other tokens are zero: some character always scores higher, and a greedy answer is readable and never ends by itself.
"""

import sys

import gguf
import numpy as np

LAYERS, WIDTH, HEADS, FEED, CONTEXT = 8, 512, 8, 1376, 4096
CHARACTERS = [chr(code) for code in range(32, 127)]
TOKENS = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + [character.replace(" ", "\u2581") for character in CHARACTERS]
TYPES = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(CHARACTERS)
TEMPLATE = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</{{ message['role'] }}>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"

random = np.random.default_rng(7)


def matrix(rows, columns):
    return (random.standard_normal((rows, columns)) * columns**-0.5 * 1.5).astype(np.float32)


writer = gguf.GGUFWriter(sys.argv[1], "llama")
writer.add_name("tiny")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(WIDTH)
writer.add_block_count(LAYERS)
writer.add_feed_forward_length(FEED)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_rope_dimension_count(WIDTH // HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_vocab_size(len(TOKENS))
writer.add_file_type(gguf.LlamaFileType.ALL_F32)
writer.add_tokenizer_model("llama")
writer.add_token_list(TOKENS)
writer.add_token_scores([0.0] * len(TOKENS))
writer.add_token_types(TYPES)
writer.add_unk_token_id(0)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_add_bos_token(True)
writer.add_add_space_prefix(False)
writer.add_chat_template(TEMPLATE)

output = matrix(len(TOKENS), WIDTH)
output[: len(TOKENS) - len(CHARACTERS)] = 0
writer.add_tensor("token_embd.weight", random.standard_normal((len(TOKENS), WIDTH)).astype(np.float32))
writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
writer.add_tensor("output.weight", output)
for layer in range(LAYERS):
    for name, rows, columns in [("attn_q", WIDTH, WIDTH), ("attn_k", WIDTH, WIDTH), ("attn_v", WIDTH, WIDTH), ("attn_output", WIDTH, WIDTH), ("ffn_gate", FEED, WIDTH), ("ffn_up", FEED, WIDTH), ("ffn_down", WIDTH, FEED)]:
        writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(rows, columns))
    for name in ["attn_norm", "ffn_norm"]:
        writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
