"""Packed layers against the plain ones that they stand for."""

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize, quantize
from torch import nn

from llm_app.engine.block_embedding import BlockEmbedding
from llm_app.engine.compiled import panels
from llm_app.engine.compiled.tiles import Tiles
from llm_app.engine.packed import PackedLinear, PrepackedLinear, can_pack, can_prepack, weight_bytes

KINDS = (Kind.Q4_0, Kind.Q4_1, Kind.Q4_K, Kind.Q8_0)


def blocks(kind: Kind, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Random weights in blocks: made by gguf, or, for the kind that it cannot make, random bytes with sane scales."""
    random = np.random.default_rng(seed)
    if kind != Kind.Q4_K:
        return quantize(random.normal(0, 0.05, shape).astype(np.float32), kind)
    per_block, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    raw = random.integers(0, 256, (shape[0], shape[1] // per_block, n_bytes), dtype=np.uint8)
    raw[..., :4] = np.array([0.01, 0.02], np.float16).view(np.uint8)
    return raw.reshape(shape[0], -1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_tiles_hold_what_gguf_dequantises(kind: Kind) -> None:
    rows = blocks(kind, (32, 512))
    tiles, want = PackedLinear(rows, kind).tiles, dequantize(rows, kind)
    # Scales and offsets in float16 are the file's own, but for those of Q4_K, which are products of two numbers.
    tolerance = 1e-3 if kind == Kind.Q4_K else 1e-6
    np.testing.assert_allclose(tiles.dense().numpy(), want, rtol=0, atol=tolerance * float(abs(want).max()))


@pytest.mark.parametrize("n_bits", [4, 8])
def test_a_product_with_tiles_is_exact_up_to_float32(n_bits: int) -> None:
    random = np.random.default_rng(n_bits)
    quants = random.integers(*((0, 16) if n_bits == 4 else (-128, 128)), (96, 18, 32)).astype(np.uint8)
    scales, offsets = random.normal(size=(2, 96, 18)).astype(np.float16).astype(np.float32)
    tiles = Tiles.of(quants if n_bits == 4 else quants.view(np.int8), scales, offsets if n_bits == 4 else None)
    dense = tiles.dense().double()
    for n_rows in (1, 2, 3, 5, 8, 9, 13, 33, 130):
        x = torch.randn(n_rows, 576).bfloat16()
        want = x.double() @ dense.T
        got = tiles @ x
        assert float((got - want).abs().max()) < 3e-6 * float(want.abs().max())
        assert torch.equal(got[-1:], tiles @ x[-1:]), "the same bits in any company"


@pytest.mark.parametrize("n_rows", [1, 2, 7, 33])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_packed_layer_computes_what_the_dequantised_one_does(kind: Kind, n_rows: int) -> None:
    rows = blocks(kind, (96, 512))
    bias = nn.Parameter(torch.randn(96, dtype=torch.bfloat16), requires_grad=False)
    layer = PackedLinear(rows, kind, bias)
    assert (layer.in_features, layer.out_features) == (512, 96)
    x = torch.randn(2, n_rows, 512, dtype=torch.bfloat16)
    exact = nn.functional.linear(x.float(), torch.from_numpy(dequantize(rows, kind)), bias.float())
    assert (layer(x).float() - exact).abs().max() < 0.01 * exact.abs().max()
    assert layer(x).dtype == torch.bfloat16 and layer(x.float()).dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_weight_of_a_packed_layer_can_be_read(kind: Kind) -> None:
    rows = blocks(kind, (48, 256))
    exact = torch.from_numpy(dequantize(rows, kind))
    assert (PackedLinear(rows, kind).weight.float() - exact).abs().max() < 0.01 * exact.abs().max()


def test_a_packed_layer_gives_a_row_the_same_numbers_in_any_company() -> None:
    layer = PackedLinear(blocks(Kind.Q4_1, (64, 256)), Kind.Q4_1)
    x = torch.randn(panels.LEAST - 1, 256, dtype=torch.bfloat16)
    together = layer(x)
    assert all(torch.equal(layer(x), together) for _ in range(3))
    assert torch.equal(torch.cat([layer(row[None]) for row in x]), together)


@pytest.mark.parametrize(("shape", "kind"), [((50, 64), Kind.Q4_0), ((64, 64), Kind.Q6_K), ((64,), Kind.Q8_0)])
def test_what_the_kernel_does_not_take_is_not_packed(shape: tuple[int, ...], kind: Kind) -> None:
    assert not can_pack(shape, kind)


def test_four_bits_take_five_and_eight_take_eight_and_a_half() -> None:
    dense = 128 * 256
    assert weight_bytes(PackedLinear(blocks(Kind.Q4_1, (128, 256)), Kind.Q4_1)) == dense * 5 // 8
    assert weight_bytes(PackedLinear(blocks(Kind.Q8_0, (128, 256)), Kind.Q8_0)) == dense * 17 // 16


def test_a_lookup_reads_the_rows_that_gguf_dequantises() -> None:
    rows = blocks(Kind.Q8_0, (50, 64))
    dense = torch.from_numpy(dequantize(rows, Kind.Q8_0)).to(torch.bfloat16)
    layer, ids = BlockEmbedding(rows, torch.bfloat16), torch.tensor([[3, 49, 3], [0, 7, 49]])
    assert torch.equal(layer(ids), dense[ids])
    assert torch.equal(layer.weight, dense)
    assert (layer.num_embeddings, layer.embedding_dim) == (50, 64)
    assert weight_bytes(layer) == rows.nbytes


@pytest.mark.skipif(not can_prepack(), reason="no bfloat16 in oneDNN on this processor")
@pytest.mark.parametrize("n_rows", [1, 5, 64])
def test_a_prepacked_layer_computes_what_nn_linear_does(n_rows: int) -> None:
    plain = nn.Linear(96, 80).to(torch.bfloat16)
    layer = PrepackedLinear(plain.weight, plain.bias)
    x = torch.randn(2, n_rows, 96, dtype=torch.bfloat16)
    exact = nn.functional.linear(x.float(), plain.weight.float(), plain.bias.float())
    assert (layer(x).float() - exact).abs().max() < 0.01 * exact.abs().max()
    assert torch.equal(layer.weight, plain.weight)
    assert weight_bytes(layer) == weight_bytes(plain)
