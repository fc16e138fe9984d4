"""A random vision-language model of 300,000 parameters, with all files that a server needs."""

from pathlib import Path
from typing import Any

IMAGE_PX, PATCH_PX, SHRINK = 96, 16, 2
"""Size of the square picture and of its patches; SHRINK x SHRINK patches make a token."""
SPECIAL = (
    "<|end|>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{% endif %}<end_of_utterance>\n{% endfor %}assistant:"
)


def tiny_vision(folder: Path, words: list[str]) -> Any:
    """A random Idefics3, its tokenizer (byte-level, long tokens learnt from `words`) and processor, in `folder`."""
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    tokenizer = _tokenizer(words)
    _processor(tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    config = Idefics3Config(
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 8192,
            "initializer_range": 0.3,
            "bos_token_id": None,
            "eos_token_id": 0,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": IMAGE_PX,
            "patch_size": PATCH_PX,
            "initializer_range": 0.3,
        },
        scale_factor=SHRINK,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    model = Idefics3ForConditionalGeneration(config).float().eval()
    _talk(model, tokenizer)
    model.save_pretrained(folder)
    return model


def _talk(model: Any, tokenizer: Any) -> None:
    """Makes a random model end its strings after a few words, and its lists only if it must.

    One component of the hidden state is constant after every word, so its column of the head is a bias.
    """
    import torch

    text, head = model.model.text_model, model.lm_head.weight
    with torch.no_grad():
        text.embed_tokens.weight[:, 0] = 3.0
        for layer in text.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        head[:, 0] = 0.0
        for word, number in tokenizer.get_vocab().items():
            if word in SPECIAL[1:] or "]" in word:
                head[number, 0] = -200.0
        head[tokenizer.convert_tokens_to_ids('"'), 0] = 60.0


def _tokenizer(words: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=list(SPECIAL), initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")


def _processor(tokenizer: Any) -> Any:
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    pictures = Idefics3ImageProcessorPil(
        size={"longest_edge": IMAGE_PX}, max_image_size={"longest_edge": IMAGE_PX}, do_image_splitting=False
    )
    length = (IMAGE_PX // PATCH_PX // SHRINK) ** 2
    return Idefics3Processor(pictures, tokenizer, image_seq_len=length, chat_template=TEMPLATE)
