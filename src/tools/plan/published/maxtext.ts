/**
 * Measurements of MaxText on TPU v4, v5e and v5p, and of JAX on GPUs. Models and batches are sharded by FSDP, or with
 * tensor parallelism too.
 */
import { deepseekLatent, models } from '../inputs/models.ts'
import { gpt, type PublishedModel, type PublishedPlan, type PublishedRow } from './row.ts'

const fsdp = { precision: 'bfloat16', zero: 3 } as const satisfies PublishedPlan
const full = { recompute: 'full' } as const
/** Policies that keep the results of matrix products and recompute the rest. */
const products = { recompute: 'selective' } as const

interface Dense {
  readonly device: 'tpu-v4' | 'tpu-v5p' | 'tpu-v5e'
  readonly name: string
  readonly shape: readonly [layers: number, width: number, heads: number, hidden: number]
  readonly chips: number
  readonly tensor?: number
  /** Sequences of 2,048 a chip. */
  readonly micro: number
  readonly teraflops: number
  readonly plan: PublishedPlan
  readonly network?: string
}

function dense({ device, name, shape, chips, tensor = 1, micro, teraflops, plan, network }: Dense): PublishedRow {
  const [layers, width, heads, hidden] = shape
  const isOld = device === 'tpu-v4'
  return {
    id: `MaxText ${name}, ${device.replace('tpu-', 'TPU ')} × ${chips}`,
    system: `MaxText, ${device.replace('tpu-', 'TPU ')}`,
    source: `MaxText, src/maxtext/configs/tpu/${device.slice(4)}/README.md at e591f30`,
    seen: 'read',
    model: {
      layers,
      width,
      heads,
      headWidth: isOld ? 256 : 128,
      hidden,
      activation: isOld ? 'gelu' : 'swiglu',
      vocabulary: isOld ? 32_768 : 32_000,
      sequence: 2048,
      moe: null,
    },
    device,
    devices: chips,
    ...(network !== undefined && { network }),
    batch: micro * chips,
    micro: micro * tensor,
    plan: { ...fsdp, ...plan, parallel: { tensor, pipeline: 1 } },
    published: { kind: 'model FLOP/s', value: teraflops * 1e12, scores: 'whole' },
    assumed: 'shapes of the scales named in the README; tensor-parallel ranks share their sequences',
  }
}

const v5p = 'tpu-v5p'
const v4 = 'tpu-v4'
const v5e = 'tpu-v5e'
const scaled = {
  '16B': [32, 4096, 64, 28_672],
  '32B': [32, 8192, 64, 28_672],
  '64B': [64, 8192, 64, 28_672],
  '128B': [64, 8192, 128, 57_344],
  '256B': [64, 16_384, 128, 57_344],
  '512B': [128, 16_384, 128, 57_344],
  '1024B': [128, 16_384, 256, 114_688],
  '22B': [48, 6144, 24, 24_576],
  '52B': [32, 12_288, 32, 49_152],
} as const
const of = (name: keyof typeof scaled) => ({ name, shape: scaled[name] })

const recipes = 'AI-Hypercomputer/tpu-recipes at c8cfe2f, training/v5p'

function recipe(
  name: string,
  model: PublishedModel,
  chips: number,
  [tensor, micro]: readonly [number, number],
  seconds: number,
  plan: PublishedPlan = {},
): PublishedRow {
  return {
    id: `TPU recipes, ${name}, TPU v5p × ${chips}`,
    system: 'TPU recipes, v5p',
    source: recipes,
    seen: 'read',
    model: { ...model, sequence: 8192 },
    device: 'tpu-v5p',
    devices: chips,
    batch: micro * chips,
    micro: micro * tensor,
    plan: { ...fsdp, ...full, ...plan, parallel: { tensor, pipeline: 1, expert: 1 } },
    published: { kind: 'seconds', value: seconds },
    assumed: 'inputs of layers kept in host memory as if on the chip, everything else recomputed',
  }
}

const scout: PublishedModel = {
  ...models['mixtral-8x7b'],
  vocabulary: 202_048,
  layers: 48,
  width: 5120,
  heads: 40,
  hidden: 16_384,
  moe: { experts: 16, hidden: 8192, k: 1, sharedHidden: 8192, capacity: 'none' },
}
const maverick: PublishedModel = { ...scout, moe: { ...scout.moe, experts: 128, every: 2 } }

const paxml = 'NVIDIA/JAX-Toolbox, rosetta/projects/pax/README.md'

function pax(
  name: string,
  device: 'a100' | 'h100',
  model: PublishedModel,
  devices: number,
  micro: number,
  sequences: number,
  plan: PublishedPlan,
): PublishedRow {
  return {
    id: `PaxML ${name}, ${device.toUpperCase()} × ${devices}`,
    system: `PaxML, ${device.toUpperCase()}`,
    source: paxml,
    seen: 'read',
    model,
    device,
    devices,
    batch: micro * devices,
    micro,
    plan: { ...fsdp, ...plan, parallel: { tensor: 1, pipeline: 1 } },
    published: { kind: 'sequences per second', value: sequences },
  }
}
const gpt5 = gpt(24, 4096, 32, 50_304, 2048)
const gpt175 = gpt(96, 12_288, 96, 50_304, 2048)
const llama2: PublishedModel = {
  ...models['llama-3-8b'],
  keyValueHeads: 32,
  hidden: 11_008,
  vocabulary: 32_000,
  sequence: 4096,
}

export const maxtextRows: readonly PublishedRow[] = [
  dense({ device: v5p, ...of('32B'), chips: 64, tensor: 4, micro: 6, teraflops: 328, plan: products }),
  dense({ device: v5p, ...of('64B'), chips: 64, tensor: 4, micro: 3, teraflops: 323, plan: products }),
  dense({ device: v5p, ...of('128B'), chips: 128, tensor: 8, micro: 1, teraflops: 315, plan: products }),
  dense({ device: v5p, ...of('256B'), chips: 512, tensor: 8, micro: 1, teraflops: 308, plan: products }),
  dense({ device: v5p, ...of('512B'), chips: 512, tensor: 8, micro: 2, teraflops: 294, plan: full }),
  dense({ device: v5p, ...of('1024B'), chips: 2048, tensor: 16, micro: 2, teraflops: 297, plan: full }),
  dense({ device: v4, ...of('22B'), chips: 64, micro: 13, teraflops: 156, plan: full }),
  dense({ device: v4, ...of('52B'), chips: 192, micro: 7, teraflops: 154, plan: full }),
  dense({ device: v5e, ...of('16B'), chips: 256, micro: 6, teraflops: 120, plan: full }),
  dense({ device: v5e, ...of('32B'), chips: 256, micro: 4, teraflops: 132, plan: full }),
  dense({ device: v5e, ...of('64B'), chips: 256, micro: 2, teraflops: 118, plan: full }),
  recipe('DeepSeek-V3', models['deepseek-v3'], 512, [1, 6], 90.668, { latent: deepseekLatent }),
  recipe('Llama 4 Scout', scout, 512, [1, 8], 31.652),
  recipe('Llama 4 Maverick', maverick, 128, [4, 4], 24.792),
  recipe('Llama 3.1 405B', models['llama-3-405b'], 512, [1, 2], 131.474),
  pax('GPT 5B', 'a100', gpt5, 256, 8, 718.19, products),
  pax('GPT 175B', 'a100', gpt175, 256, 6, 20.44, full),
  pax('GPT 5B', 'h100', gpt5, 256, 8, 1657.24, products),
  pax('GPT 5B, FP8', 'h100', gpt5, 256, 8, 2374.66, { ...products, precision: 'float8' }),
  pax('GPT 175B', 'h100', gpt175, 256, 6, 51, full),
  pax('GPT 175B, FP8', 'h100', gpt175, 256, 6, 84.45, { ...full, precision: 'float8' }),
  {
    id: 'MaxText Llama 2 7B, H100 × 8',
    system: 'MaxText, H100',
    source: 'NVIDIA/JAX-Toolbox, docs/frameworks/maxtext/README.md at bcbbfa5',
    seen: 'read',
    model: llama2,
    device: 'h100',
    devices: 8,
    batch: 16,
    micro: 2,
    plan: { ...fsdp, ...products, parallel: { tensor: 1, pipeline: 1 } },
    published: { kind: 'seconds', value: 0.721 },
  },
]
