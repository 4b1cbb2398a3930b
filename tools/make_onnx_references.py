"""Writes tests/golden/onnx/NAME.onnx, small CLIP models as PyTorch exports them, and NAME.safetensors:
inputs and PyTorch's own results for 1 and for 3 rows, as "1/pixel_values", "1/embeds", "3/…".

openai-… are built as openai/CLIP builds its models (tools/onnx/openai_clip.py), hf-… by Hugging Face's
transformers; …-dynamo by the exporter that follows TorchDynamo. Weights are random, seeds fixed.

    python tools/make_onnx_references.py [NAME …]       PyTorch, transformers, onnx, onnxscript, safetensors
"""
import pathlib
import sys
import warnings

import onnx
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent / "onnx"))
from openai_clip import Normalized, ResNet, Text, Vit, randomize  # noqa: E402

FOLDER = pathlib.Path(__file__).parent.parent / "tests/golden/onnx"
SIDE, TOKENS, VOCABULARY, END = 16, 12, 48, 47


def openai(kind, weights=False):
    act = {"gelu": torch.nn.GELU, "quick": None}[kind.partition("/")[2] or "quick"]
    extra = {"act": act} if act else {}
    tower = {"vit": lambda: Vit(SIDE, 4, 18, 2, 3, 12, **extra),
             "rn": lambda: ResNet(SIDE, 8, [1, 1], 4, 12),
             "text": lambda: Text(VOCABULARY, TOKENS, 18, 2, 3, 12, **extra)}[kind.partition("/")[0]]()
    if weights:                     # attention spelt out by bmm and baddbmm, not by the fused function
        for block in tower.transformer.blocks:
            attend = block.attn.forward
            block.attn.forward = lambda q, k, v, f=attend, **o: f(q, k, v, **{**o, "need_weights": True})
    return randomize(Normalized(tower))


class HuggingFace(torch.nn.Module):
    """part: image, text, masked (a text with its mask) or both."""
    def __init__(self, part, attention, act, eos=END):
        super().__init__()
        from transformers import CLIPConfig, CLIPModel
        shape = dict(hidden_size=18, intermediate_size=36, num_hidden_layers=2, num_attention_heads=3,
                     projection_dim=12, hidden_act=act)
        config = CLIPConfig(
            text_config=dict(shape, vocab_size=VOCABULARY, max_position_embeddings=TOKENS,
                             bos_token_id=46, eos_token_id=eos, pad_token_id=1),
            vision_config=dict(shape, image_size=SIDE, patch_size=4), projection_dim=12)
        config._attn_implementation = attention
        self.model, self.part = randomize(CLIPModel(config)), part

    def forward(self, *x):
        rows = lambda y: getattr(y, "pooler_output", y)
        if self.part == "image":
            return rows(self.model.get_image_features(pixel_values=x[0]))
        if self.part == "text":
            return rows(self.model.get_text_features(input_ids=x[0]))
        if self.part == "masked":
            return rows(self.model.get_text_features(input_ids=x[0], attention_mask=x[1]))
        y = self.model(pixel_values=x[0], input_ids=x[1], attention_mask=x[2])
        return y.logits_per_image, y.logits_per_text, y.text_embeds, y.image_embeds


INPUTS = {"image": ["pixel_values"], "text": ["input_ids"], "masked": ["input_ids", "attention_mask"],
          "both": ["pixel_values", "input_ids", "attention_mask"]}

# name: builder, part, opset, dynamo
MODELS = {
    "openai-vit-13": (lambda: openai("vit", weights=True), "image", 13, False),
    "openai-text-13": (lambda: openai("text/gelu", weights=True), "text", 13, False),
    "openai-vit-17": (lambda: openai("vit"), "image", 17, False),
    "openai-rn-16": (lambda: openai("rn"), "image", 16, False),
    "openai-text-16": (lambda: openai("text"), "text", 16, False),
    "openai-vit-18-dynamo": (lambda: openai("vit/gelu"), "image", 18, True),
    "openai-text-18-dynamo": (lambda: openai("text"), "text", 18, True),
    "hf-image-16": (lambda: HuggingFace("image", "eager", "gelu"), "image", 16, False),
    "hf-text-17": (lambda: HuggingFace("text", "sdpa", "gelu_pytorch_tanh"), "text", 17, False),
    "hf-masked-14": (lambda: HuggingFace("masked", "eager", "gelu_new"), "masked", 14, False),
    "hf-masked-17": (lambda: HuggingFace("masked", "sdpa", "quick_gelu", eos=2), "masked", 17, False),
    "hf-both-18": (lambda: HuggingFace("both", "eager", "quick_gelu"), "both", 18, False),
}


def draw(part, rows):
    g = torch.Generator().manual_seed(rows)
    pixels = torch.randn(rows, 3, SIDE, SIDE, generator=g)
    ids = torch.randint(3, 45, (rows, TOKENS), generator=g)
    mask = torch.zeros(rows, TOKENS, dtype=torch.int64)
    for i in range(rows):
        length = 5 + 2 * i
        ids[i, length - 1], ids[i, length:], mask[i, :length] = END, 1, 1
    return {"image": (pixels,), "text": (ids,), "masked": (ids, mask), "both": (pixels, ids, mask)}[part]


def strip(path):
    """Leaves out what no runtime reads: where a node came from, and shapes in between."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    for name in "value_info", "metadata_props":
        model.graph.ClearField(name)
    for x in list(model.graph.input) + list(model.graph.output) + list(model.graph.initializer):
        x.ClearField("metadata_props")
    model.ClearField("metadata_props")
    onnx.save(model, path)


def make(name):
    build, part, opset, dynamo = MODELS[name]
    torch.manual_seed(len(name))
    model, inputs = build(), INPUTS[part]
    outputs = (["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"]
               if part == "both" else ["embeds"])
    path = FOLDER / f"{name}.onnx"
    options = dict(input_names=inputs, output_names=outputs, opset_version=opset, dynamo=dynamo)
    if dynamo:
        batch = torch.export.Dim("batch")
        options.update(external_data=False, verbose=False, dynamic_shapes=tuple({0: batch} for _ in inputs))
    else:
        options["dynamic_axes"] = {i: {0: "batch"} for i in inputs}
    torch.onnx.export(model, draw(part, 2), path, **options)
    strip(path)
    tensors = {}
    for rows in 1, 3:
        x = draw(part, rows)
        with torch.no_grad():
            y = model(*x)
        y = y if isinstance(y, tuple) else (y,)
        tensors |= {f"{rows}/{k}": v.clone().contiguous() for k, v in zip(inputs + outputs, x + y)}
    save_file(tensors, FOLDER / f"{name}.safetensors")
    print(f"{name}: {path.stat().st_size} bytes", flush=True)


def main():
    warnings.filterwarnings("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or MODELS:
        make(name)


if __name__ == "__main__":
    main()
