/** Peak memory printed by the allocators of frameworks. */
import { gpt, type PublishedRow } from './row.ts'

const MEBIBYTE = 2 ** 20

const jeanZay = 'BigScience, experiments/gpt2: logs of Megatron-LM with pipelines on V100'

function bigscience(
  derived: boolean,
  name: string,
  [layers, width]: readonly [number, number],
  pipeline: number,
  mebibytes: number,
  { batch = 4, micro = 1 }: { batch?: number; micro?: number } = {},
): PublishedRow {
  return {
    id: `BigScience ${name}, V100 × ${4 * pipeline}, memory of the first stage`,
    system: 'BigScience',
    ...(derived && { derived }),
    source: jeanZay,
    seen: 'read',
    model: gpt(layers, width, 32, 50_688, 1024),
    device: 'v100',
    devices: 4 * pipeline,
    devicesPerNode: 4,
    batch,
    micro,
    plan: {
      precision: 'float16',
      gradients: 'both',
      attention: 'materialized',
      dropout: true,
      recompute: 'full',
      sequenceParallel: false,
      zero: 0,
      parallel: { tensor: 4, pipeline, data: 1 },
    },
    published: { kind: 'allocated bytes', value: mebibytes * MEBIBYTE },
  }
}

const nanotron = 'nanotron, benchmark results of its ultrascale playbook'

function nanotronRow(
  derived: boolean,
  [tensor, pipeline, data, micro]: readonly [number, number, number, number],
  mebibytes: number,
): PublishedRow {
  return {
    id: `nanotron 1B, tensor ${tensor}, pipeline ${pipeline}, micro-batch ${micro}, H100 × 16`,
    system: 'nanotron',
    ...(derived && { derived }),
    source: nanotron,
    seen: 'read',
    model: {
      layers: 24,
      width: 2048,
      heads: 32,
      hidden: 4096,
      activation: 'swiglu',
      vocabulary: 50_272,
      sequence: 4096,
      tied: true,
      moe: null,
    },
    device: 'h100',
    devices: 16,
    batch: 1024,
    micro,
    plan: { precision: 'bfloat16', recompute: 'none', zero: 1, parallel: { tensor, pipeline, data } },
    published: { kind: 'allocated bytes', value: mebibytes * MEBIBYTE },
  }
}

export const memoryRows: readonly PublishedRow[] = [
  bigscience(true, '18B', [40, 6144], 4, 26_204),
  bigscience(false, '30B', [48, 7168], 8, 22_113),
  bigscience(false, '65B', [64, 9216], 16, 24_762),
  bigscience(false, '116B', [64, 12_288], 32, 23_405),
  bigscience(false, '206B', [64, 16_384], 64, 22_769),
  nanotronRow(true, [1, 1, 16, 1], 15_785.37),
  nanotronRow(true, [1, 1, 16, 2], 25_075.44),
  {
    id: 'llm.c GPT-2 1558M, H100 × 8, memory',
    system: 'llm.c',
    source: 'llm.c, log of discussion 677',
    seen: 'read',
    model: gpt(48, 1600, 25, 50_304, 1024),
    device: 'h100',
    devices: 8,
    batch: 1024,
    micro: 16,
    plan: {
      precision: 'bfloat16',
      gradients: 'precision',
      recompute: 'none',
      zero: 1,
      parallel: { tensor: 1, pipeline: 1 },
    },
    published: { kind: 'allocated bytes', value: 42_371_907_584 + 2 * 3_115_319_296 + 2_334_130_176 },
  },
]
