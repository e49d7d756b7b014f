/**
 * Measurements of dense models with fused attention, whose weights or optimizer state are sharded over data-parallel
 * ranks (FSDP, ZeRO).
 */
import { gpt, type PublishedRow } from './row.ts'

const foundry = 'MosaicML llm-foundry, scripts/train/benchmarking/README.md'

/**
 * A row of MPT with fully sharded FSDP. Gradients are reduced in 16 bits (mixed precision `PURE`) or float32
 * (`DEFAULT`).
 */
function mpt(
  name: string,
  [layers, width, heads]: readonly [number, number, number],
  on: readonly [device: string, devices: number],
  { batch, micro, full = false, pure = false }: { batch: number; micro: number; full?: boolean; pure?: boolean },
  tokens: number,
): PublishedRow {
  const [device, devices] = on
  return {
    id: `MPT ${name}, ${device.toUpperCase()} × ${devices}`,
    system: `llm-foundry, ${device === 'h100' ? 'H100' : 'A100'}`,
    source: foundry,
    seen: 'read',
    model: gpt(layers, width, heads, 50_368, 2048),
    device,
    devices,
    batch,
    micro,
    plan: {
      program: 'fsdp',
      precision: 'bfloat16',
      fusion: 'eager',
      gradients: pure ? 'precision' : 'float32',
      recompute: full ? 'full' : 'none',
      zero: 3,
      parallel: { tensor: 1, pipeline: 1 },
    },
    published: { kind: 'tokens per second and device', value: tokens },
  }
}

const small = 'a100-40gb'

export const shardedRows: readonly PublishedRow[] = [
  mpt('125M', [12, 768, 12], [small, 8], { batch: 624, micro: 26, pure: true }, 136_334),
  mpt('1B', [24, 2048, 16], [small, 8], { batch: 512, micro: 8, pure: true }, 19_271),
  mpt('7B', [32, 4096, 32], [small, 8], { batch: 384, micro: 12, pure: true, full: true }, 3679),
  mpt('13B', [40, 5120, 40], [small, 8], { batch: 512, micro: 4, pure: true, full: true }, 1668),
  mpt('1B', [24, 2048, 16], [small, 128], { batch: 1280, micro: 10, pure: true }, 18_647),
  mpt('30B', [48, 7168, 56], [small, 128], { batch: 768, micro: 6, pure: true, full: true }, 865),
  mpt('7B', [32, 4096, 32], ['a100', 8], { batch: 96, micro: 6 }, 4641),
  mpt('13B', [40, 5120, 40], ['a100', 8], { batch: 48, micro: 2 }, 2262),
  mpt('7B', [32, 4096, 32], ['h100', 8], { batch: 48, micro: 6 }, 10_643),
  mpt('7B', [32, 4096, 32], ['h100', 512], { batch: 3072, micro: 6 }, 9670),
  ...[
    { name: '125M', shape: [12, 768, 12], batch: 256, micro: 16, tokens: 1_310_000, zero: 0 },
    { name: '1.3B', shape: [24, 2048, 16], batch: 512, micro: 8, tokens: 169_000, zero: 1 },
    { name: '2.7B', shape: [32, 2560, 20], batch: 512, micro: 4, tokens: 85_000, zero: 1 },
  ].map(
    ({ name, shape: [layers = 0, width = 0, heads = 0], batch, micro, tokens, zero }): PublishedRow => ({
      id: `FlashAttention GPT-3 ${name}, A100 × 8`,
      system: 'FlashAttention',
      source: 'FlashAttention, training/README.md',
      seen: 'read',
      model: gpt(layers, width, heads, 50_264, 2048),
      device: 'a100',
      devices: 8,
      batch,
      micro,
      plan: { precision: 'bfloat16', recompute: 'none', zero, parallel: { tensor: 1, pipeline: 1 } },
      published: { kind: 'tokens per second and device', value: tokens / 8 },
    }),
  ),
  ...[
    { name: '124M', shape: [12, 768, 12], micro: 64, batch: 512, device: 'a100', seconds: 0.3 },
    { name: '350M', shape: [24, 1024, 16], micro: 64, batch: 512, device: 'a100', seconds: 0.82 },
    { name: '774M', shape: [36, 1280, 20], micro: 32, batch: 512, device: 'a100', seconds: 1.7 },
    { name: '1558M', shape: [48, 1600, 25], micro: 16, batch: 1024, device: 'h100', seconds: 2.7494 },
  ].map(
    ({ name, shape: [layers = 0, width = 0, heads = 0], micro, batch, device, seconds }): PublishedRow => ({
      id: `llm.c GPT-2 ${name}, ${device.toUpperCase()} × 8`,
      system: 'llm.c',
      source: 'llm.c, discussions 481, 580 and 677',
      seen: 'read',
      model: gpt(layers, width, heads, 50_304, 1024),
      device,
      devices: 8,
      batch,
      micro,
      plan: {
        precision: 'bfloat16',
        gradients: 'precision',
        recompute: 'none',
        zero: 1,
        parallel: { tensor: 1, pipeline: 1 },
      },
      published: { kind: 'seconds', value: seconds },
    }),
  ),
]
