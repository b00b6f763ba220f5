"""Tiny random detectors, and models that compare images with words, each with its tokenizer."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from napari_segment_anything.families.loading import quiet

from .tiny import tiny_sam3, written

TOKENS = 32
_TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_CLIP_TEXT = _TOWER | {"vocab_size": 600, "max_position_embeddings": TOKENS, "projection_dim": 16}


def tiny_clip(folder: Path, side: int = 32) -> Path:
    """Write a CLIP with its byte-pair tokenizer and its description of images."""
    import transformers

    ends = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    config = transformers.CLIPConfig(
        text_config=_CLIP_TEXT | ends,
        vision_config=_TOWER | {"image_size": side, "patch_size": 8, "projection_dim": 16},
        projection_dim=16,
    )
    written(transformers.CLIPModel(config), folder)
    size = {"shortest_edge": side}
    processor = transformers.CLIPImageProcessorPil(size=size, crop_size=side)
    return _with(folder, clip_tokenizer(), processor)


def tiny_siglip(folder: Path, side: int = 32) -> Path:
    """Write a SigLIP (2, of fixed size) with a word tokenizer."""
    import transformers

    config = transformers.SiglipConfig(
        text_config=_TOWER
        | {"vocab_size": 60, "max_position_embeddings": 16, "projection_size": 16},
        vision_config=_TOWER | {"image_size": side, "patch_size": 8},
    )
    written(transformers.SiglipModel(config), folder)
    processor = transformers.SiglipImageProcessorPil(size={"height": side, "width": side})
    return _with(folder, word_tokenizer(), processor)


def tiny_siglip2(folder: Path) -> Path:
    """Write a SigLIP 2 of flexible size."""
    import transformers

    config = transformers.Siglip2Config(
        text_config=_TOWER
        | {"vocab_size": 60, "max_position_embeddings": 16, "projection_size": 16},
        vision_config=_TOWER | {"patch_size": 8, "num_patches": 16},
    )
    written(transformers.Siglip2Model(config), folder)
    processor = transformers.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    return _with(folder, word_tokenizer(), processor)


def tiny_owlv2(folder: Path, side: int = 64) -> Path:
    """Write an OWLv2."""
    import transformers

    text = {key: value for key, value in _CLIP_TEXT.items() if key != "projection_dim"}
    config = transformers.Owlv2Config(
        text_config=text | {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513},
        vision_config=_TOWER | {"image_size": side, "patch_size": 8},
        projection_dim=16,
    )
    written(transformers.Owlv2ForObjectDetection(config), folder)
    processor = transformers.Owlv2ImageProcessorPil(size={"height": side, "width": side})
    return _with(folder, clip_tokenizer(TOKENS), processor)


def tiny_grounding_dino(folder: Path, side: int = 64) -> Path:
    """Write a Grounding DINO on a tiny Swin, with a BERT tokenizer."""
    import transformers

    words = ["[PAD]", *(f"[unused{i}]" for i in range(1, 1030))]
    fixed = {100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    for index, word in fixed.items():
        words[index] = word
    words += ["disk", "nucleus", "bright", "a"]
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
            image_size=side, out_indices=[2, 3, 4],
        ),
        text_config=_TOWER | {"vocab_size": len(words), "model_type": "bert"},
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=20,
        max_text_len=TOKENS,
    )  # fmt: skip
    written(transformers.GroundingDinoForObjectDetection(config), folder)
    processor = transformers.GroundingDinoImageProcessorPil(
        size={"shortest_edge": side, "longest_edge": 2 * side}
    )
    vocabulary = {word: index for index, word in enumerate(words)}
    return _with(folder, transformers.BertTokenizer(vocab=vocabulary), processor)


def tiny_concepts(folder: Path) -> Path:
    """Write a SAM 3, detector and tracker together as published, with its tokenizer."""
    tokens = clip_tokenizer(TOKENS, string.ascii_lowercase, end=99)
    return _with(tiny_sam3(folder), tokens)


def clip_tokenizer(length: int = 0, letters: str = "", end: int = 513) -> Any:
    """Return a byte-pair tokenizer without merges.

    Parameters
    ----------
    length : int
        Tokens that the model reads; 0 leaves it open.
    letters : str
        What it knows; all bytes by default.
    end : int
        Id of the token at the end; that at the start comes before it.
    """
    import transformers
    from tokenizers.pre_tokenizers import ByteLevel

    known = sorted(letters or ByteLevel.alphabet())
    known += [f"{letter}</w>" for letter in known]
    known += [f"unused{i}" for i in range(len(known), end - 1)]
    vocabulary = {word: i for i, word in enumerate([*known, "<|startoftext|>", "<|endoftext|>"])}
    more = {"model_max_length": length} if length else {}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], **more)


def word_tokenizer() -> Any:
    """Return a tokenizer that knows letters."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = {letter: i for i, letter in enumerate(string.ascii_lowercase + " ", start=3)}
    known = {"<pad>": 0, "<eos>": 1, "<unk>": 2} | letters
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def _with(folder: Path, tokenizer: Any, processor: Any = None) -> Path:
    with quiet():
        tokenizer.save_pretrained(folder)
        if processor is not None:
            processor.save_pretrained(folder)
    return folder
