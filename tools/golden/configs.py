"""The models: small ones, which between them have every kind of block and every key of the
description; and those of the paper's tables 19 and 20."""

DEFAULTS = {"quick_gelu": False, "init_logit_bias": None}
BLOCK = {"mlp_ratio": 4.0, "ls_init_value": None, "act": None, "norm": "layernorm"}
VISION = BLOCK | {"head_width": 64, "patch_size": 16, "no_ln_pre": False, "pool_type": "tok",
                  "final_ln_after_pool": False}
TEXT = BLOCK | {"text_arch": "transformer", "context_length": 77, "vocab_size": 49408,
                "width": 512, "heads": 8, "layers": 12, "pool_type": "argmax", "pad_id": 0,
                "eos_id": 2, "no_causal_mask": False, "use_pad_mask": False, "proj_bias": False}


def complete(config):
    """With open_clip's defaults in place of what is left out."""
    return DEFAULTS | config | {"vision_cfg": VISION | config["vision_cfg"],
                                "text_cfg": TEXT | config["text_cfg"]}


# --- small ---------------------------------------------------------------------------------------

def resnet(layers, width):
    return {"image_size": 64, "layers": layers, "width": width, "head_width": 32}


def vit(**more):
    return {"image_size": 32, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8} | more


def transformer(**more):
    return {"context_length": 16, "vocab_size": 97, "width": 32, "heads": 4, "layers": 2} | more


# Name -> number of the first inputs, description. The number is 0 unless there are ReLUs: see
# make_golden.py --search.
SMALL = {
    "resnet_cbow": (384, {
        "embed_dim": 24,
        "vision_cfg": resnet([2, 1, 1, 1], 6),
        "text_cfg": {"text_arch": "cbow", "context_length": 16, "vocab_size": 97, "width": 40}}),
    "resnet_transformer": (28, {
        "embed_dim": 24, "quick_gelu": True,
        "vision_cfg": resnet([1, 1, 1, 1], 4),
        "text_cfg": transformer()}),
    # as OpenAI's
    "vit_transformer": (0, {
        "embed_dim": 24, "quick_gelu": True, "vision_cfg": vit(), "text_cfg": transformer()}),
    "vit_cbow": (0, {
        "embed_dim": 24, "init_logit_bias": -4,
        "vision_cfg": vit(layers=3, mlp_ratio=2.5),
        "text_cfg": {"text_arch": "cbow", "context_length": 16, "vocab_size": 97, "width": 40,
                     "norm": "rmsnorm", "pad_id": 5, "proj_bias": True}}),
    # the mean of normed patches; captions read both ways, padding hidden
    "vit_transformer_mean": (0, {
        "embed_dim": 20, "init_logit_bias": -4,
        "vision_cfg": vit(pool_type="avg", no_ln_pre=True, ls_init_value=0.1, act="gelu_tanh"),
        "text_cfg": transformer(no_causal_mask=True, use_pad_mask=True, pool_type="eos", eos_id=2,
                                pad_id=1, ls_init_value=0.1, act="silu")}),
    # the norm of the patches' mean; captions read both ways, padding seen
    "vit_transformer_rms": (0, {
        "embed_dim": 20,
        "vision_cfg": vit(pool_type="avg", final_ln_after_pool=True, norm="rmsnorm", act="silu"),
        "text_cfg": transformer(no_causal_mask=True, pool_type="first", proj_bias=True,
                                norm="rmsnorm", act="gelu_tanh", width=24, heads=3)}),
    # the last row, which a caption's end reaches through its padding: use_pad_mask hides nothing
    # beside a causal mask. The towers' own activations win over quick_gelu
    "vit_transformer_last": (1, {
        "embed_dim": 20, "quick_gelu": True,
        "vision_cfg": vit(final_ln_after_pool=True, act="relu", layers=1),
        "text_cfg": transformer(pool_type="last", pad_id=2, act="relu", mlp_ratio=1.5, layers=1,
                                use_pad_mask=True)}),
    # the last row, which for most captions is padding, but sees none
    "resnet_transformer_last": (49, {
        "embed_dim": 24, "init_logit_bias": -4,
        "vision_cfg": resnet([1, 1, 1, 1], 4),
        "text_cfg": transformer(no_causal_mask=True, use_pad_mask=True, pool_type="last", pad_id=2,
                                proj_bias=True)}),
}


# --- of the paper --------------------------------------------------------------------------------

def published(embed_dim, image_size, vision, width):
    return {"embed_dim": embed_dim, "quick_gelu": True,
            "vision_cfg": {"image_size": image_size} | vision,
            "text_cfg": {"width": width, "heads": width // 64, "layers": 12}}


def big_vit(layers, width, patch_size):
    return {"layers": layers, "width": width, "patch_size": patch_size}


PUBLISHED = {
    "RN50": published(1024, 224, {"layers": [3, 4, 6, 3], "width": 64}, 512),
    "RN101": published(512, 224, {"layers": [3, 4, 23, 3], "width": 64}, 512),
    "RN50x4": published(640, 288, {"layers": [4, 6, 10, 6], "width": 80}, 640),
    "RN50x16": published(768, 384, {"layers": [6, 8, 18, 8], "width": 96}, 768),
    "RN50x64": published(1024, 448, {"layers": [3, 15, 36, 10], "width": 128}, 1024),
    "ViT-B-32": published(512, 224, big_vit(12, 768, 32), 512),
    "ViT-B-16": published(512, 224, big_vit(12, 768, 16), 512),
    "ViT-L-14": published(768, 224, big_vit(24, 1024, 14), 768),
    "ViT-L-14-336": published(768, 336, big_vit(24, 1024, 14), 768),
}
