/** Measurements of Megatron-Bridge: today's models on H100, B200 and GB200, and notes on single settings. */
import { deepseekLatent, models } from '../inputs/models.ts'
import type { PublishedModel, PublishedPlan, PublishedRow } from './row.ts'

const summary =
  'Megatron-Bridge, docs/performance-summary-archive.md at 067f987; flags from the benchmark configurations'

/**
 * Settings of Megatron-Bridge: ZeRO 1, gradients in 16 bits, experts not divided. CUDA graphs of attention or router
 * count as graphs of the whole step.
 */
const common = {
  precision: 'float8',
  gradients: 'precision',
  // Megatron-Core multiplies hidden activations.
  gates: 'hidden',
  zero: 1,
  recompute: 'none',
} as const satisfies PublishedPlan

const shapes = {
  'Llama 3 8B': models['llama-3-8b'],
  'Llama 3 70B': models['llama-3-70b'],
  'Llama 3.1 405B': models['llama-3-405b'],
  'gpt-oss 120B': models['gpt-oss-120b'],
  'Qwen3 30B': models['qwen3-30b-a3b'],
  'Qwen3 235B': models['qwen3-235b-a22b'],
  'DeepSeek-V3': models['deepseek-v3'],
  // The layer that predicts a second token (MTP) counts as one more layer.
  'DeepSeek-V3 with MTP': { ...models['deepseek-v3'], layers: 62 },
} as const satisfies Readonly<Record<string, PublishedModel>>

/** Dispatch that sends a row through the network once for each node (DeepEP, HybridEP). */
const fused = { dispatchTo: 'node' } as const
const graphs = { graphs: true } as const
const selective = { recompute: 'selective' } as const
/** All-to-alls that the computation of the neighbouring micro-batch hides. */
const hidden = { allToAllOverlap: 0.8 } as const
const bf16 = { precision: 'bfloat16' } as const

type Device = 'H100' | 'B200' | 'GB200'
type Row = readonly [
  release: string,
  name: keyof typeof shapes,
  devices: number,
  layout: readonly [tensor: number, pipeline: number, virtual: number, context: number, expert: number],
  batch: readonly [micro: number, global: number],
  tokens: number,
  plan?: PublishedPlan,
  over?: PublishedModel['moe'],
]

/** The setting "tokendrop": capacity 1, padded. */
const drop = { capacity: 'kx', factor: 1, compute: 'padded' } as const

const rows: Readonly<Record<Device, readonly Row[]>> = {
  H100: [
    ['26.04.01', 'Llama 3 70B', 64, [4, 8, 5, 1, 1], [1, 256], 1664],
    ['26.04.01', 'Llama 3.1 405B', 1024, [8, 8, 8, 2, 1], [1, 1536], 328],
    ['26.04.01', 'gpt-oss 120B', 64, [1, 4, 1, 1, 8], [1, 1280], 5824, { ...bf16, ...selective }],
    ['26.04.01', 'Qwen3 30B', 16, [1, 1, 1, 1, 16], [1, 1024], 8960, fused],
    ['26.04.01', 'Qwen3 235B', 256, [2, 8, 4, 1, 32], [1, 8192], 1712, hidden],
    ['26.02.01', 'Qwen3 30B', 16, [1, 2, 12, 1, 8], [1, 1024], 9058, fused],
    ['26.02.01', 'Qwen3 235B', 256, [2, 8, 4, 1, 32], [1, 8192], 1611, { ...fused, ...hidden }],
    ['25.11', 'Llama 3 70B', 64, [4, 8, 5, 1, 1], [1, 128], 1602],
    ['25.11', 'Llama 3.1 405B', 1024, [8, 8, 8, 2, 1], [1, 512], 292],
    ['25.11', 'gpt-oss 120B', 64, [1, 4, 1, 1, 8], [4, 512], 5630, { ...bf16, ...selective }],
    ['25.11', 'Qwen3 30B', 16, [1, 2, 24, 1, 8], [2, 512], 5275, hidden],
    ['25.11', 'Qwen3 235B', 256, [2, 8, 4, 1, 32], [1, 2048], 1575, hidden],
    ['25.09', 'DeepSeek-V3 with MTP', 1024, [2, 8, 4, 1, 64], [1, 8192], 1297, { ...fused, ...hidden, ...selective }],
    ['25.09', 'Qwen3 30B', 16, [1, 2, 24, 1, 8], [2, 512], 10_494, {}, drop],
    ['25.09', 'Qwen3 235B', 256, [2, 8, 4, 1, 32], [1, 2048], 1204, {}, drop],
  ],
  B200: [
    [
      '26.04.01',
      'DeepSeek-V3 with MTP',
      256,
      [1, 8, 2, 1, 32],
      [1, 4096],
      3328,
      { ...fused, ...hidden, ...graphs, ...selective },
    ],
    ['26.04.01', 'gpt-oss 120B', 64, [1, 1, 1, 1, 8], [4, 1280], 13_568, { ...bf16, ...selective }],
    ['26.04.01', 'Qwen3 30B', 8, [1, 1, 1, 1, 8], [4, 512], 27_136, { ...fused, ...graphs }],
    ['26.04.01', 'Qwen3 235B', 256, [1, 8, 1, 1, 8], [1, 8192], 3776],
    ['26.02.01', 'DeepSeek-V3 with MTP', 256, [1, 16, 1, 1, 8], [1, 4096], 2790, { ...fused, ...selective }],
    ['25.11', 'Llama 3 8B', 8, [1, 1, 1, 1, 1], [2, 128], 30_624, graphs],
    ['25.11', 'Llama 3.1 405B', 128, [4, 8, 8, 2, 1], [1, 64], 661],
    ['25.11', 'DeepSeek-V3 with MTP', 256, [1, 16, 1, 1, 8], [1, 2048], 2139, selective],
    ['25.11', 'gpt-oss 120B', 64, [1, 1, 1, 1, 8], [4, 512], 8213, { ...bf16, ...selective }],
    ['25.11', 'Qwen3 30B', 8, [1, 1, 1, 1, 8], [1, 512], 9299],
    ['25.11', 'Qwen3 235B', 64, [1, 8, 2, 1, 8], [1, 1024], 3269, hidden],
    ['25.09', 'Qwen3 30B', 8, [1, 1, 1, 1, 8], [1, 512], 18_066, {}, drop],
    ['25.09', 'Qwen3 235B', 64, [1, 8, 2, 1, 8], [1, 1024], 4104, {}, drop],
  ],
  GB200: [
    ['26.04.01', 'Llama 3 70B', 64, [2, 4, 5, 1, 1], [1, 256], 3712],
    ['26.04.01', 'Llama 3.1 405B', 256, [4, 16, 4, 1, 1], [1, 1536], 864],
    ['26.04.01', 'DeepSeek-V3 with MTP', 256, [1, 4, 4, 1, 64], [1, 4096], 4256, { ...fused, ...graphs, ...selective }],
    ['26.04.01', 'gpt-oss 120B', 64, [1, 1, 1, 1, 64], [4, 1280], 16_640, { ...bf16, ...hidden, ...selective }],
    ['26.04.01', 'Qwen3 30B', 8, [1, 1, 1, 1, 8], [4, 512], 26_112, { ...fused, ...graphs }],
    ['26.04.01', 'Qwen3 235B', 256, [1, 8, 3, 1, 32], [1, 8192], 5680, { ...fused, ...graphs }],
    ['25.11', 'Llama 3 8B', 8, [1, 1, 1, 1, 1], [2, 128], 31_508, graphs],
    ['25.11', 'DeepSeek-V3', 256, [1, 4, 4, 1, 64], [1, 4096], 3139, { ...bf16, ...fused, ...graphs, ...selective }],
    ['25.11', 'DeepSeek-V3', 256, [1, 8, 4, 1, 32], [1, 4096], 4018, { ...fused, ...graphs, ...selective }],
    ['25.11', 'gpt-oss 120B', 64, [1, 1, 1, 1, 64], [1, 1280], 15_876, { ...bf16, ...selective }],
    ['25.11', 'Qwen3 235B', 256, [1, 8, 3, 1, 32], [1, 8192], 4916, { ...bf16, ...fused, ...graphs }],
    ['25.09', 'Qwen3 30B', 8, [1, 1, 1, 1, 8], [4, 512], 22_775, {}, drop],
    ['25.09', 'Qwen3 235B', 64, [2, 1, 1, 1, 64], [1, 1024], 4452, {}, drop],
  ],
}

function bridgeRow(
  device: Device,
  [release, name, devices, layout, batch, tokens, plan = {}, over]: Row,
): PublishedRow {
  const [tensor, pipeline, virtualStages, context, expert] = layout
  const [micro, global] = batch
  const { moe } = shapes[name]
  const precision = { ...common, ...plan }.precision === 'float8' ? 'FP8' : 'BF16'
  const shape = `tensor ${tensor}, pipeline ${pipeline}×${virtualStages}, expert ${expert}, micro-batch ${micro}`
  return {
    id: `Megatron-Bridge ${release}, ${name}${over ? ', capacity 1' : ''}, ${precision}, ${shape}, ${device} × ${devices}`,
    system: `Megatron-Bridge, ${device}`,
    source: summary,
    seen: 'read',
    model: { ...shapes[name], moe: moe && { ...moe, ...over } },
    device: device.toLowerCase(),
    devices,
    // An NVLink domain has 72 devices, of which 64 are used.
    ...(device === 'GB200' && { devicesPerNode: 64 }),
    batch: global,
    micro,
    plan: {
      ...common,
      ...plan,
      // User buffers hide the tensor-parallel communication of dense models.
      ...(moe === null && { tensorOverlap: 0.8 }),
      ...(name.startsWith('DeepSeek') && { latent: deepseekLatent, nodeLimit: 4 }),
      virtualStages,
      parallel: { tensor, pipeline, context, expert, expertTensor: 1 },
    },
    published: { kind: 'tokens per second and device', value: tokens },
    ...(name.endsWith('MTP') && { assumed: 'the layer for a second token is one more layer' }),
  }
}

const skills = 'Megatron-Bridge, skills/nemo-mbridge-perf-* at 067f987'

/** A row for Qwen3 30B on 16 H100 in bfloat16 (notes of 2026). */
function note(name: string, seconds: number, plan: PublishedPlan): PublishedRow {
  return {
    id: `Megatron-Bridge notes, Qwen3 30B, BF16, ${name}, H100 × 16`,
    system: 'Megatron-Bridge, H100',
    source: skills,
    seen: 'read',
    model: models['qwen3-30b-a3b'],
    device: 'h100',
    devices: 16,
    batch: 1024,
    micro: 1,
    plan: { ...common, ...bf16, ...graphs, ...plan, parallel: { tensor: 1, pipeline: 1, expert: 16 } },
    published: { kind: 'seconds', value: seconds },
  }
}

const moonlight: PublishedModel = {
  ...models['deepseek-v3'],
  layers: 27,
  width: 2048,
  heads: 16,
  hidden: 11_264,
  vocabulary: 163_840,
  moe: { from: 1, experts: 64, hidden: 1408, k: 6, sharedHidden: 2816, capacity: 'none' },
}

/**
 * A row for Moonlight 16B. Each data-parallel rank has one micro-batch of one sequence, so the host starts kernels more
 * slowly than they run.
 */
function moonlightRow(recompute: 'none' | 'selective', seconds: number): PublishedRow {
  return {
    id: `Megatron-Bridge notes, Moonlight 16B, ${recompute} recomputation, H100 × 8`,
    system: 'Megatron-Bridge notes, Moonlight',
    source: skills,
    seen: 'read',
    model: moonlight,
    device: 'h100',
    devices: 8,
    batch: 4,
    micro: 1,
    plan: {
      ...common,
      ...bf16,
      recompute,
      latent: { ...deepseekLatent, queryRank: null },
      parallel: { tensor: 2, pipeline: 1, expert: 8, expertTensor: 1 },
    },
    published: { kind: 'seconds', value: seconds },
  }
}

/** A row for the peak of the allocator in the same notes, given for Qwen3 30B on rank 0 and for Moonlight. */
function allocatedRow(row: PublishedRow, bytes: number): PublishedRow {
  return { ...row, id: `${row.id}, memory`, published: { kind: 'allocated bytes', value: bytes } }
}

/** A row for Llama 3 70B on 32 H100, fine-tuned on packed sequences. */
function tunedRow([tensor, pipeline]: readonly [number, number], teraflops: number): PublishedRow {
  return {
    id: `Megatron-Bridge notes, Llama 3 70B fine-tuning, tensor ${tensor}, pipeline ${pipeline}, H100 × 32`,
    system: 'Megatron-Bridge, H100',
    source: skills,
    seen: 'read',
    model: { ...models['llama-3-70b'], sequence: 4096 },
    device: 'h100',
    devices: 32,
    batch: 32,
    micro: 1,
    plan: { ...common, tensorOverlap: 0.8, virtualStages: 5, parallel: { tensor, pipeline } },
    published: { kind: 'model FLOP/s', value: teraflops * 1e12, scores: 'causal' },
  }
}

export const bridgeRows: readonly PublishedRow[] = [
  ...(['H100', 'B200', 'GB200'] as const).flatMap((device) => rows[device].map((row) => bridgeRow(device, row))),
  note('no overlap', 24.7138, fused),
  note('all-to-alls overlapped', 20.992, { ...fused, ...hidden }),
  moonlightRow('none', 0.457_18),
  moonlightRow('selective', 0.506_53),
  allocatedRow(note('all-to-alls overlapped', 20.992, { ...fused, ...hidden }), 62.166 * 2 ** 30),
  allocatedRow(moonlightRow('none', 0.457_18), 36.618e9),
  allocatedRow(moonlightRow('selective', 0.506_53), 35.949e9),
  tunedRow([4, 4], 704),
  tunedRow([4, 8], 668),
  tunedRow([8, 4], 508.7),
]
