/** Measurements of mixtures of experts: MegaBlocks, Tutel, Alpa, DeepSpeed-MoE, OLMoE, DeepSeek-V3 and GLaM. */
import { deepseekLatent, models } from '../inputs/models.ts'
import { gpt, type PublishedModel, type PublishedRow } from './row.ts'

type Moe = NonNullable<PublishedModel['moe']>

const megablocks = 'MegaBlocks, chart of training time in its README; scripts of commit 1647a0e'
/** Settings of Megatron-LM in 2022: fp16 with Adam, without recomputation and without fused attention. */
const plain = {
  precision: 'float16',
  attention: 'materialized',
  dropout: true,
  recompute: 'none',
  zero: 0,
} as const

const megablocksSizes = {
  '46M': { shape: [6, 512, 8], dense: { micro: 64, days: 0.07 }, dropless: { micro: 64, days: 0.08 } },
  '125M': { shape: [12, 768, 12], dense: { micro: 32, days: 0.16 }, dropless: { micro: 32, days: 0.19 } },
  '356M': { shape: [24, 1024, 16], dense: { micro: 16, days: 0.37 }, dropless: { micro: 8, days: 0.57 } },
} as const

/** A row of MegaBlocks: 64 experts in every layer on 8 ranks, trained for 20,000 steps of 512 sequences. */
function megablocksRow(
  size: keyof typeof megablocksSizes,
  variant: string,
  moe: Moe | null,
  { micro, days }: { micro: number; days: number },
  assumed = '20,000 steps (comments of the scripts); value measured on the chart, in hundredths of a day',
): PublishedRow {
  const [layers, width, heads] = megablocksSizes[size].shape
  return {
    id: `MegaBlocks ${size}, ${variant}, A100 × 8`,
    system: 'MegaBlocks',
    source: megablocks,
    seen: 'read',
    model: gpt(layers, width, heads, 51_200, 1024, { moe: moe && { experts: 64, hidden: 4 * width, k: 1, ...moe } }),
    device: 'a100',
    devices: 8,
    batch: 512,
    micro,
    plan: { ...plain, parallel: { tensor: 1, pipeline: 1, expert: moe ? 8 : 1 } },
    published: { kind: 'seconds', value: (days * 86_400) / 20_000 },
    assumed,
  }
}

const tutel = (factor: number): Moe => ({ capacity: 'kx', factor, compute: 'padded' })
const unknownMicro = 'micro-batches as those of dropless experts (not stated); value measured on the chart'

const alpa = 'Alpa, benchmark/alpa (results of its MoE suite on p3.16xlarge)'

/**
 * A row of Alpa in fp16 on V100-16GB, with one-hot dispatch in groups of 1024 tokens, full recomputation and capacity
 * for 2 choices.
 */
function alpaRow(
  name: string,
  [layers, width, heads, hidden, experts]: readonly [number, number, number, number, number],
  [devices, pipeline, micro]: readonly [number, number, number],
  seconds: number,
  assumed: string,
): PublishedRow {
  const data = devices / pipeline
  return {
    id: `Alpa MoE ${name}, V100 × ${devices}`,
    system: 'Alpa',
    source: alpa,
    seen: 'read',
    model: gpt(layers, width, heads, 32_000, 1024, {
      hidden,
      moe: { every: 2, experts, hidden, k: 2, capacity: 'kx', factor: 1, compute: 'padded' },
    }),
    device: 'v100-16gb',
    devices,
    network: '25 Gb/s',
    batch: 1024,
    micro,
    plan: {
      ...plain,
      dropout: false,
      recompute: 'full',
      dispatch: 'one-hot',
      parallel: { tensor: 1, pipeline, expert: data },
    },
    published: { kind: 'seconds', value: seconds },
    assumed,
  }
}

export const mixtureRows: readonly PublishedRow[] = [
  megablocksRow('46M', 'dense', null, megablocksSizes['46M'].dense),
  megablocksRow('125M', 'dense', null, megablocksSizes['125M'].dense),
  megablocksRow('356M', 'dense', null, megablocksSizes['356M'].dense),
  megablocksRow('46M', 'dropless', { capacity: 'none' }, megablocksSizes['46M'].dropless),
  megablocksRow('125M', 'dropless', { capacity: 'none' }, megablocksSizes['125M'].dropless),
  megablocksRow('356M', 'dropless', { capacity: 'none' }, megablocksSizes['356M'].dropless),
  megablocksRow('125M', 'Tutel, factor 1', tutel(1), { micro: 32, days: 0.19 }, unknownMicro),
  megablocksRow('125M', 'Tutel, factor 1.5', tutel(1.5), { micro: 32, days: 0.21 }, unknownMicro),
  megablocksRow('125M', 'Tutel, factor 2', tutel(2), { micro: 32, days: 0.24 }, unknownMicro),
  megablocksRow('356M', 'Tutel, factor 1', tutel(1), { micro: 8, days: 0.53 }, unknownMicro),
  megablocksRow('356M', 'Tutel, factor 1.5', tutel(1.5), { micro: 8, days: 0.6 }, unknownMicro),
  megablocksRow('356M', 'Tutel, factor 2', tutel(2), { micro: 8, days: 0.67 }, unknownMicro),
  alpaRow('380M', [8, 768, 16, 6144, 8], [1, 1, 2], 36.62, 'micro-batches of 2 sequences'),
  alpaRow(
    '2.4B',
    [16, 1024, 16, 8192, 16],
    [8, 1, 1],
    13.55,
    'micro-batches of one sequence a device, expert parallelism alone',
  ),
  {
    id: 'DeepSpeed-MoE 1.3B + MoE-128, A100 × 128',
    system: 'DeepSpeed-MoE',
    source: 'DeepSpeed blog "DeepSpeed-MoE for NLG", 2021; scripts in Megatron-DeepSpeed',
    seen: 'second hand',
    model: gpt(24, 2048, 16, 50_304, 2048, {
      moe: { every: 2, experts: 128, hidden: 8192, k: 1, capacity: 'kx', factor: 1, compute: 'padded' },
    }),
    device: 'a100-40gb',
    devices: 128,
    batch: 512,
    micro: 4,
    plan: { ...plain, recompute: 'full', parallel: { tensor: 1, pipeline: 1, expert: 128 } },
    published: { kind: 'sequences per second', value: 372 },
    assumed: 'micro-batches of 4 (512 sequences on 128 ranks), 40 GB devices, recomputation as in the scripts',
  },
  {
    id: 'DeepSpeed dense 6.7B, A100 × 128',
    system: 'DeepSpeed-MoE',
    source: 'DeepSpeed blog "DeepSpeed-MoE for NLG", 2021; scripts in Megatron-DeepSpeed',
    seen: 'second hand',
    model: gpt(32, 4096, 32, 50_304, 2048),
    device: 'a100-40gb',
    devices: 128,
    batch: 1024,
    micro: 4,
    plan: { ...plain, recompute: 'full', sequenceParallel: false, parallel: { tensor: 8, pipeline: 1 } },
    published: { kind: 'sequences per second', value: 70 },
    assumed: '40 GB devices, recomputation as in the scripts',
  },
  ...(['OLMoE 1B-7B', 'OLMo 1B'] as const).map((name): PublishedRow => {
    const isSparse = name === 'OLMoE 1B-7B'
    return {
      id: `${name}, H100 × 128`,
      system: 'OLMoE',
      source: 'Muennighoff et al. 2024 (OLMoE), section 4.1.1 and figure 4; configurations in allenai/OLMoE',
      seen: 'second hand',
      model: isSparse ? models['olmoe-1b-7b'] : { ...models['olmoe-1b-7b'], hidden: 8192, moe: null },
      device: 'h100',
      devices: 128,
      batch: 1024,
      micro: isSparse ? 4 : 8,
      plan: {
        program: 'fsdp',
        precision: 'bfloat16',
        fusion: 'eager',
        recompute: 'none',
        zero: 3,
        parallel: { tensor: 1, pipeline: 1, expert: 1 },
      },
      published: { kind: 'tokens per second and device', value: isSparse ? 23_600 : 37_500 },
      assumed: 'no recomputation (the configuration has none)',
    }
  }),
  {
    id: 'DeepSeek-V3, H800 × 2048',
    system: 'DeepSeek-V3',
    source: 'DeepSeek-V3 technical report, table 1 and section 3: 180 thousand hours of an H800 for a trillion tokens',
    seen: 'second hand',
    model: { ...models['deepseek-v3'], layers: 62 },
    device: 'h800',
    devices: 2048,
    batch: 15_360,
    micro: 1,
    plan: {
      precision: 'float8',
      state: 'bfloat16',
      latent: deepseekLatent,
      gates: 'hidden',
      recompute: 'selective',
      zero: 1,
      dispatchPrecision: 'float8',
      dispatchTo: 'node',
      nodeLimit: 4,
      allToAllOverlap: 0.8,
      parallel: { tensor: 1, pipeline: 16, expert: 64 },
    },
    published: { kind: 'tokens per second and device', value: 1e12 / (180e3 * 3600) },
    assumed:
      'micro-batches of one sequence; a schedule with both directions has half the bubble of 1F1B at best, counted as 1F1B; the layer for a second token is one more layer',
  },
  {
    id: 'GLaM 64B/64E, TPU v4 × 1024',
    system: 'GLaM',
    source: 'Du et al. 2022 (GLaM), as summarized elsewhere: 574 hours for 280 B tokens',
    seen: 'second hand',
    model: models['glam-64b-64e'],
    device: 'tpu-v4',
    devices: 1024,
    batch: 1024,
    micro: 8,
    plan: {
      precision: 'bfloat16',
      optimizer: 'adafactor',
      recompute: 'full',
      dispatch: 'one-hot',
      attention: 'materialized',
      zero: 3,
      parallel: { tensor: 8, pipeline: 1, expert: 64 },
    },
    published: { kind: 'tokens per second and device', value: 280e9 / (574 * 3600 * 1024) },
    assumed:
      'experts over one axis and hidden widths over 8 chips of the other, recomputation of every layer, one pass',
  },
]
