/**
 * Measurements of NVIDIA's DGX Cloud benchmarks of NeMo, Megatron-Core's collection of mixtures, and NeMo AutoModel.
 */
import { deepseekLatent, models } from '../inputs/models.ts'
import type { PublishedModel, PublishedPlan, PublishedRow } from './row.ts'

const grok: PublishedModel = {
  ...models['mixtral-8x7b'],
  vocabulary: 128_256,
  layers: 64,
  width: 6144,
  heads: 48,
  sequence: 8192,
  moe: { experts: 8, hidden: 32_768, k: 2, capacity: 'kx', factor: 1, compute: 'padded' },
}
const deepseek: PublishedModel = {
  ...models['deepseek-v3'],
  layers: 62,
  moe: { ...models['deepseek-v3'].moe, capacity: 'kx', factor: 1, compute: 'padded' },
}

const float8 = { precision: 'float8' } as const
const megatron = { precision: 'bfloat16', gradients: 'precision', zero: 1, recompute: 'none' } as const

interface Benchmark {
  readonly release: '25.04' | '25.05'
  readonly device: 'H100' | 'GB200'
  readonly name: string
  readonly model: PublishedModel
  readonly devices: number
  readonly layout: readonly [tensor: number, pipeline: number, virtual: number, context: number, expert: number]
  readonly batch: number
  readonly seconds: number
  readonly plan?: PublishedPlan
}

/** A row of the tables of NVIDIA/dgxc-benchmarking, with micro-batches of one sequence. */
function benchmark({ release, device, name, model, devices, layout, batch, seconds, plan }: Benchmark): PublishedRow {
  const [tensor, pipeline, virtualStages, context, expert] = layout
  const precision = plan?.precision === 'float8' ? 'FP8' : 'BF16'
  return {
    id: `DGX Cloud ${release}, ${name}, ${precision}, ${device} × ${devices}`,
    system: `DGX Cloud ${release}, ${device}`,
    source: `NVIDIA/dgxc-benchmarking, README files of release ${release}`,
    seen: 'read',
    model,
    device: device.toLowerCase(),
    devices,
    ...(device === 'GB200' && { devicesPerNode: 64 }),
    batch,
    micro: 1,
    plan: {
      ...megatron,
      tensorOverlap: 0.8,
      ...plan,
      virtualStages,
      parallel: { tensor, pipeline, context, expert, expertTensor: 1 },
    },
    published: { kind: 'seconds', value: seconds },
    assumed:
      'data-parallel ranks from devices, as tensor, pipeline and context leave; no recomputation where not stated',
  }
}

const latent = { latent: deepseekLatent, nodeLimit: 4, recompute: 'selective', tensorOverlap: 0 } as const
const h100 = { release: '25.04', device: 'H100' } as const
const gb200 = { release: '25.05', device: 'GB200' } as const
const later = { release: '25.05', device: 'H100' } as const
const grok1 = { name: 'Grok-1', model: grok } as const
const llama8 = { name: 'Llama 3.1 8B', model: models['llama-3-8b'] } as const
const llama70 = { name: 'Llama 3.1 70B', model: models['llama-3-70b'] } as const
const llama405 = { name: 'Llama 3.1 405B', model: models['llama-3-405b'] } as const
const v3 = { name: 'DeepSeek-V3', model: deepseek } as const
const whole = { graphs: true } as const

const benchmarks: readonly Benchmark[] = [
  { ...h100, ...grok1, devices: 512, layout: [4, 8, 8, 2, 8], batch: 1024, seconds: 21.01 },
  { ...h100, ...grok1, devices: 2048, layout: [4, 8, 8, 2, 8], batch: 4096, seconds: 21.29 },
  { ...h100, ...grok1, devices: 512, layout: [4, 8, 8, 2, 8], batch: 1024, seconds: 16.9, plan: float8 },
  { ...h100, ...llama8, devices: 8, layout: [1, 1, 1, 2, 1], batch: 128, seconds: 12.27 },
  { ...h100, ...llama8, devices: 8, layout: [1, 1, 1, 2, 1], batch: 128, seconds: 9.33, plan: float8 },
  { ...h100, ...llama8, devices: 128, layout: [1, 1, 1, 2, 1], batch: 2048, seconds: 12.33 },
  { ...h100, ...llama70, devices: 64, layout: [4, 4, 5, 2, 1], batch: 128, seconds: 14.66 },
  { ...h100, ...llama70, devices: 64, layout: [4, 8, 5, 1, 1], batch: 128, seconds: 9.86, plan: float8 },
  { ...h100, ...llama405, devices: 512, layout: [8, 8, 8, 2, 1], batch: 256, seconds: 19.78 },
  { ...h100, ...llama405, devices: 512, layout: [8, 8, 8, 2, 1], batch: 256, seconds: 12.37, plan: float8 },
  { ...later, ...grok1, devices: 512, layout: [4, 8, 8, 2, 8], batch: 1024, seconds: 15.933 },
  { ...later, ...grok1, devices: 512, layout: [4, 8, 8, 2, 8], batch: 1024, seconds: 13.433, plan: float8 },
  { ...later, ...v3, devices: 512, layout: [2, 8, 1, 1, 64], batch: 4096, seconds: 48.948, plan: latent },
  { ...later, ...v3, devices: 1024, layout: [2, 16, 1, 1, 64], batch: 8192, seconds: 52.04, plan: latent },
  { ...gb200, ...v3, devices: 128, layout: [2, 4, 1, 1, 32], batch: 1024, seconds: 34.168, plan: latent },
  { ...gb200, ...v3, devices: 256, layout: [2, 4, 1, 1, 64], batch: 2048, seconds: 34.194, plan: latent },
  { ...gb200, ...llama405, devices: 128, layout: [4, 8, 8, 2, 1], batch: 64, seconds: 9.347, plan: whole },
]

const zoo = 'Megatron-MoE-ModelZoo, best_practice/qwen3/readme.md at e865051'

/** A row for Qwen3 235B in Megatron-Core, by default with 2,048 sequences of 4,096 tokens. */
function zooRow(
  name: string,
  [tensor, pipeline, virtualStages, context, expert]: readonly [number, number, number, number, number],
  published: PublishedRow['published'],
  plan: PublishedPlan,
  { sequence = 4096, micro = 1, device = 'h100' as 'h100' | 'gb200', batch = 2048 } = {},
): PublishedRow {
  return {
    id: `Megatron-Core collection, Qwen3 235B, ${name}, ${device.toUpperCase()} × 256`,
    system: `Megatron-Core collection, ${device.toUpperCase()}`,
    source: zoo,
    seen: 'read',
    model: { ...models['qwen3-235b-a22b'], sequence },
    device,
    devices: 256,
    ...(device === 'gb200' && { devicesPerNode: 64 }),
    batch,
    micro,
    plan: {
      ...megatron,
      dispatchTo: 'node',
      ...plan,
      virtualStages,
      parallel: { tensor, pipeline, context, expert, expertTensor: 1 },
    },
    published,
  }
}

const seconds = (value: number) => ({ kind: 'seconds', value }) as const
const teraflops = (value: number) => ({ kind: 'model FLOP/s', value: value * 1e12, scores: 'causal' }) as const
const selective = { recompute: 'selective' } as const
const long = (sequence: number, context: number, value: number): PublishedRow =>
  zooRow(`sequence ${sequence}`, [4, 8, 4, context, 8], teraflops(value), selective, { sequence, batch: 256 })

const autoModel = 'NeMo AutoModel, docs/performance-summary.mdx at 36044ad; flags from example configurations'

function autoRow(
  name: string,
  model: PublishedModel,
  devices: number,
  [pipeline, virtualStages, context, expert]: readonly [number, number, number, number],
  [micro, batch]: readonly [number, number],
  value: number,
  plan: PublishedPlan,
): PublishedRow {
  return {
    id: `NeMo AutoModel, ${name}, H100 × ${devices}`,
    system: 'NeMo AutoModel',
    source: autoModel,
    seen: 'read',
    model,
    device: 'h100',
    devices,
    batch,
    micro,
    plan: {
      precision: 'bfloat16',
      recompute: 'full',
      dispatchTo: 'node',
      zero: pipeline > 1 ? 1 : 3,
      ...plan,
      virtualStages,
      parallel: { tensor: 1, pipeline, context, expert },
    },
    published: seconds(value),
    assumed: 'with pipelines, weights are gathered once a step (ZeRO 1)',
  }
}

const kept = { recompute: 'none' } as const

export const nemoRows: readonly PublishedRow[] = [
  ...benchmarks.map(benchmark),
  zooRow('expert 32', [2, 8, 4, 1, 32], seconds(19.7), selective),
  zooRow('expert 32, overlapped', [2, 8, 4, 1, 32], seconds(17.6), { ...selective, allToAllOverlap: 0.8 }),
  zooRow('FSDP, expert 8', [2, 1, 1, 1, 8], seconds(17.6), { zero: 3, recompute: 'full' }, { micro: 4 }),

  zooRow('tensor 4, expert 8', [4, 8, 4, 1, 8], seconds(29), {}),
  long(16_384, 1, 295),
  long(32_768, 2, 335),
  long(65_536, 4, 368),
  long(131_072, 8, 389),
  zooRow('BF16', [1, 8, 1, 1, 8], teraflops(750), { graphs: true }, { device: 'gb200', batch: 8192 }),
  zooRow(
    'MXFP8',
    [1, 4, 6, 1, 64],
    teraflops(919),
    { ...selective, precision: 'float8', graphs: true, allToAllOverlap: 0.8 },
    { device: 'gb200', batch: 3072, micro: 3 },
  ),
  autoRow('DeepSeek-V3', models['deepseek-v3'], 1024, [4, 8, 1, 64], [1, 8192], 37.87, {
    latent: deepseekLatent,
    nodeLimit: 4,
  }),
  autoRow('DeepSeek-V3', models['deepseek-v3'], 256, [4, 8, 1, 64], [1, 512], 8.18, {
    latent: deepseekLatent,
    nodeLimit: 4,
  }),
  autoRow('Kimi K2', models['kimi-k2'], 256, [8, 4, 1, 32], [1, 512], 8.86, { latent: deepseekLatent }),
  autoRow('Qwen3 30B', models['qwen3-30b-a3b'], 8, [1, 1, 1, 8], [4, 512], 21.773, {}),
  autoRow('gpt-oss 20B', models['gpt-oss-20b'], 8, [1, 1, 1, 8], [2, 256], 10.04, kept),
  autoRow('gpt-oss 120B', models['gpt-oss-120b'], 64, [1, 1, 1, 64], [2, 512], 4.3, kept),
  autoRow('Llama 3 70B', models['llama-3-70b'], 64, [1, 1, 2, 1], [1, 128], 18.9, {}),
]
