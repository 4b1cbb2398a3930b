"""Is the reference itself right? Against what others have written and published."""
import torch
from torch.utils.flop_counter import FlopCounterMode

from . import hashed, record
from .clip import Clip
from .configs import PUBLISHED, SMALL


ANCHOR = "vit_transformer"


# --- Hugging Face's CLIP -------------------------------------------------------------------------

def tower_config(cfg, heads, act):
    return {"hidden_size": cfg["width"], "intermediate_size": int(cfg["width"] * cfg["mlp_ratio"]),
            "num_hidden_layers": cfg["layers"], "num_attention_heads": heads,
            "hidden_act": {"quickgelu": "quick_gelu"}.get(act, act), "layer_norm_eps": 1e-5}


def renamed(p):
    """Our parameters under Hugging Face's names."""
    whole = {"visual.class_embedding": "vision_model.embeddings.class_embedding",
             "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
             "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
             "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
             "positional_embedding": "text_model.embeddings.position_embedding.weight",
             "logit_scale": "logit_scale"}
    front = {"visual.ln_pre.": "vision_model.pre_layrnorm.",
             "visual.ln_post.": "vision_model.post_layernorm.",
             "visual.transformer.resblocks.": "vision_model.encoder.layers.",
             "transformer.resblocks.": "text_model.encoder.layers.",
             "ln_final.": "text_model.final_layer_norm."}
    inner = {".attn.out_proj.": ".self_attn.out_proj.", ".ln_1.": ".layer_norm1.",
             ".ln_2.": ".layer_norm2.", ".mlp.c_fc.": ".mlp.fc1.", ".mlp.c_proj.": ".mlp.fc2."}
    out = {}
    for name, x in p.items():
        if name in whole:
            out[whole[name]] = x
            continue
        if name in ("visual.proj", "text_projection"):
            out["visual_projection.weight" if "visual" in name else "text_projection.weight"] = x.T
            continue
        old, new = next((o, n) for o, n in front.items() if name.startswith(o))
        name = new + name[len(old):]
        for o, n in inner.items():
            name = name.replace(o, n)
        if ".attn.in_proj_" in name:
            for part, rows in zip("qkv", x.chunk(3)):
                out[name.replace(".attn.in_proj_", f".self_attn.{part}_proj.")] = rows
        else:
            out[name] = x
    return out


def against_transformers(transformers):
    """The largest difference of embeddings and logits of the ANCHOR, in f64."""
    first, config = SMALL[ANCHOR]
    model = Clip(config, torch.float64)
    vision, text = model.cfg["vision_cfg"], model.cfg["text_cfg"]
    theirs = transformers.CLIPModel(transformers.CLIPConfig(
        projection_dim=model.cfg["embed_dim"],
        vision_config=tower_config(vision, vision["width"] // vision["head_width"],
                                   model.act(vision))
        | {"image_size": vision["image_size"], "patch_size": vision["patch_size"]},
        text_config=tower_config(text, text["heads"], model.act(text))
        | {"vocab_size": text["vocab_size"], "max_position_embeddings": text["context_length"],
           "bos_token_id": text["vocab_size"] - 2, "eos_token_id": text["vocab_size"] - 1}))
    theirs = theirs.double().eval()
    with torch.no_grad():
        image, captions = record.inputs(model, first)
        i, t, logits, _ = model.forward(image, captions)
        loaded = theirs.load_state_dict(renamed(model.p), strict=False)
        assert not loaded.unexpected_keys, loaded
        assert all(k.endswith("position_ids") for k in loaded.missing_keys), loaded
        token = torch.tensor([c + [0] * (text["context_length"] - len(c)) for c in captions])
        out = theirs(input_ids=token, pixel_values=torch.tensor(image).double().permute(0, 3, 1, 2))
    pairs = (i, out.image_embeds), (t, out.text_embeds), (logits, out.logits_per_image)
    return max((ours - found).abs().max().item() for ours, found in pairs)


def metadata(name):
    """What a golden file says of the check; nothing but of the ANCHOR, or without the library."""
    if name != ANCHOR:
        return {}
    try:
        import transformers
    except ImportError:
        return {}
    difference = against_transformers(transformers)
    assert difference < 1e-6, difference
    return {"checked": f"embeddings and logits are those of CLIPModel of transformers "
                       f"{transformers.__version__} within {difference:.0e}, in f64"}


# --- the paper's tables --------------------------------------------------------------------------

def count():
    """Trained parameters, and FLOPs of one picture; nothing is computed."""
    print(f"{'model':14s} {'parameters':>12s} {'image tower':>12s} {'image GFLOP':>12s}")
    for name, config in PUBLISHED.items():
        model = Clip(config, torch.float32, "meta")
        size = model.cfg["vision_cfg"]["image_size"]
        with torch.no_grad(), FlopCounterMode(display=False) as flops:
            model.encode_image(torch.empty(1, size, size, 3, device="meta"), False)
        image = sum(t.numel() for t in model.trained().values())
        flops = flops.get_total_flops()
        model.logits(*[torch.empty(1, 1, device="meta")] * 2)
        model.encode_text(hashed.captions(0, [1], model.cfg["text_cfg"]))
        every = sum(t.numel() for t in model.trained().values())
        print(f"{name:14s} {every:12,d} {image:12,d} {flops / 1e9:12.3f}")
