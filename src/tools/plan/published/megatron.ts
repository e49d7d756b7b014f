/**
 * Measurements of dense GPTs in Megatron-LM and its descendants, with tensor and pipeline parallelism and full or
 * selective recomputation.
 */
import { gpt, type PublishedRow } from './row.ts'

/**
 * Training in fp16 as in Megatron of 2021, where weights, gradients, master weights and moments take 20 bytes a
 * parameter.
 */
const mixed = { precision: 'float16', attention: 'materialized', dropout: true, gradients: 'both' } as const
const full = { recompute: 'full' } as const

const readme2020 = 'Megatron-LM README and images/tables.tex, January 2021'

function weakScaling(
  device: 'v100' | 'a100',
  name: string,
  [layers, width, heads]: readonly [number, number, number],
  { tensor, data = 1, seconds }: { tensor: number; data?: number; seconds: number },
): PublishedRow {
  const micro = device === 'v100' ? 8 : 16
  return {
    id: `Megatron 2020, ${name}, ${device.toUpperCase()} × ${tensor * data}`,
    system: `Megatron-LM 2020, ${device.toUpperCase()}`,
    source: readme2020,
    seen: 'read',
    model: gpt(layers, width, heads, 51_200, 1024),
    device,
    devices: tensor * data,
    ...(device === 'v100' && { devicesPerNode: 16 }),
    batch: micro * data,
    micro,
    plan: { ...mixed, ...full, sequenceParallel: false, zero: 0, parallel: { tensor, data, pipeline: 1 } },
    published: { kind: 'seconds', value: seconds },
    assumed: 'recomputation of every layer (the printed FLOP/s count it), fp16',
  }
}

const sizes2020 = {
  '1B': [24, 1920, 15],
  '2B': [30, 2304, 18],
  '4B': [36, 3072, 24],
  '8B': [42, 4096, 32],
} as const

const sc21 = 'Narayanan et al. 2021, table 1, as in the Megatron-LM README of April 2021'

interface Scaled {
  readonly name: string
  readonly shape: readonly [layers: number, width: number, heads: number]
  readonly tensor: number
  readonly pipeline: number
  readonly data: number
  readonly virtual?: number
  readonly batch: number
  readonly micro: number
  readonly teraflops: number
}

const scaled: readonly Scaled[] = [
  { name: '1.7B', shape: [24, 2304, 24], tensor: 1, pipeline: 1, data: 32, batch: 512, micro: 16, teraflops: 137 },
  { name: '3.6B', shape: [30, 3072, 32], tensor: 2, pipeline: 1, data: 32, batch: 512, micro: 16, teraflops: 138 },
  { name: '7.5B', shape: [36, 4096, 32], tensor: 4, pipeline: 1, data: 32, batch: 512, micro: 16, teraflops: 142 },
  { name: '18B', shape: [40, 6144, 48], tensor: 8, pipeline: 1, data: 32, batch: 1024, micro: 8, teraflops: 135 },
  { name: '39B', shape: [48, 8192, 64], tensor: 8, pipeline: 2, data: 32, batch: 1536, micro: 4, teraflops: 138 },
  {
    name: '76B',
    shape: [60, 10_240, 80],
    tensor: 8,
    pipeline: 4,
    data: 32,
    virtual: 3,
    batch: 1792,
    micro: 2,
    teraflops: 140,
  },
  {
    name: '145B',
    shape: [80, 12_288, 96],
    tensor: 8,
    pipeline: 8,
    data: 24,
    virtual: 2,
    batch: 2304,
    micro: 2,
    teraflops: 148,
  },
  {
    name: '310B',
    shape: [96, 16_384, 128],
    tensor: 8,
    pipeline: 16,
    data: 15,
    virtual: 2,
    batch: 2160,
    micro: 1,
    teraflops: 155,
  },
  {
    name: '530B',
    shape: [105, 20_480, 128],
    tensor: 8,
    pipeline: 35,
    data: 9,
    virtual: 3,
    batch: 2520,
    micro: 1,
    teraflops: 163,
  },
  { name: '1T', shape: [128, 25_600, 160], tensor: 8, pipeline: 64, data: 6, batch: 3072, micro: 1, teraflops: 163 },
]

const korthikanti = 'Korthikanti et al. 2022, table 5, as copied by Calculon; the MFU is in the Megatron-LM README too'

function recomputation(
  name: string,
  [layers, width, heads]: readonly [number, number, number],
  { pipeline, virtual, batch, micro }: { pipeline: number; virtual: number; batch: number; micro: number },
  seconds: { full: number; selective: number },
): PublishedRow[] {
  return (['full', 'selective'] as const).map((recompute) => ({
    id: `Megatron 2022, ${name}, ${recompute} recomputation, A100 × ${8 * pipeline}`,
    system: 'Megatron-LM 2022',
    source: korthikanti,
    seen: 'second hand',
    model: gpt(layers, width, heads, 51_200, 2048),
    device: 'a100',
    devices: 8 * pipeline,
    batch,
    micro,
    plan: {
      ...mixed,
      recompute,
      sequenceParallel: recompute === 'selective',
      virtualStages: virtual,
      zero: 0,
      parallel: { tensor: 8, pipeline, data: 1 },
    },
    published: { kind: 'seconds', value: seconds[recompute] },
  }))
}

const core = 'Megatron-LM README, 2024: weak scaling on H100 with 4 k tokens'

function megatronCore(
  name: string,
  [layers, width, heads]: readonly [number, number, number],
  [tensor, pipeline, batch]: readonly [number, number, number],
  teraflops: number,
): PublishedRow {
  return {
    id: `Megatron-Core 2024, ${name}, H100 × ${48 * tensor * pipeline}`,
    system: 'Megatron-Core 2024',
    source: core,
    seen: 'read',
    model: gpt(layers, width, heads, 131_072, 4096, { tied: false }),
    device: 'h100',
    devices: 48 * tensor * pipeline,
    batch,
    micro: 1,
    plan: {
      precision: 'bfloat16',
      zero: 1,
      recompute: 'none',
      tensorOverlap: 0.8,
      parallel: { tensor, pipeline, data: 48 },
    },
    published: { kind: 'Megatron FLOP/s', value: teraflops * 1e12, passes: 3 },
    assumed: 'micro-batches of one sequence, no recomputation, no interleaving, 0.8 of the tensor exchanges hidden',
  }
}

const bloom = 'BigScience, chronicles-prequel.md (384 A100 of Jean Zay)'

function bloomRow(
  [layers, heads]: readonly [number, number],
  [tensor, pipeline, data, micro]: readonly [number, number, number, number],
  { seconds, gigabytes, bf16 = false }: { seconds: number; gigabytes: number; bf16?: boolean },
): PublishedRow[] {
  const common = {
    system: 'BLOOM',
    source: bloom,
    seen: 'read' as const,
    model: gpt(layers, 14_336, heads, 250_880, 2048),
    device: 'a100',
    devices: 384,
    network: '100 GB/s',
    batch: 2048,
    micro,
    plan: {
      ...mixed,
      ...full,
      ...(bf16 ? { precision: 'bfloat16' as const, gradients: 'float32' as const } : {}),
      sequenceParallel: false,
      zero: 1,
      parallel: { tensor, pipeline, data },
    },
    assumed: 'four 200 Gb/s ports a node, as in its description elsewhere',
  }
  const name = `BLOOM ${layers} layers, tensor ${tensor}, pipeline ${pipeline}, micro-batch ${micro}`
  return [
    { ...common, id: `${name}, A100 × 384`, published: { kind: 'seconds', value: seconds } },
    { ...common, id: `${name}, memory`, published: { kind: 'used bytes', value: gigabytes * 1e9 } },
  ]
}

export const megatronRows: readonly PublishedRow[] = [
  weakScaling('v100', '1B', sizes2020['1B'], { tensor: 1, seconds: 1.121 }),
  weakScaling('v100', '2B', sizes2020['2B'], { tensor: 2, seconds: 1.093 }),
  weakScaling('v100', '4B', sizes2020['4B'], { tensor: 4, seconds: 1.238 }),
  weakScaling('v100', '8B', sizes2020['8B'], { tensor: 8, seconds: 1.407 }),
  weakScaling('a100', '1B', sizes2020['1B'], { tensor: 1, seconds: 1.076 }),
  weakScaling('a100', '2B', sizes2020['2B'], { tensor: 2, seconds: 1.026 }),
  weakScaling('a100', '4B', sizes2020['4B'], { tensor: 4, seconds: 1.162 }),
  weakScaling('a100', '8B', sizes2020['8B'], { tensor: 8, seconds: 1.343 }),
  weakScaling('a100', '1B', sizes2020['1B'], { tensor: 1, data: 128, seconds: 1.153 }),
  weakScaling('a100', '8B', sizes2020['8B'], { tensor: 8, data: 128, seconds: 1.38 }),
  ...scaled.map(
    ({
      name,
      shape: [layers, width, heads],
      tensor,
      pipeline,
      data,
      virtual = 1,
      batch,
      micro,
      teraflops,
    }): PublishedRow => ({
      id: `Megatron 2021, ${name}, A100 × ${tensor * pipeline * data}`,
      system: 'Megatron-LM 2021',
      source: sc21,
      seen: 'read',
      model: gpt(layers, width, heads, 51_200, 2048),
      device: 'a100',
      devices: tensor * pipeline * data,
      batch,
      micro,
      plan: {
        ...mixed,
        ...full,
        sequenceParallel: false,
        virtualStages: virtual,
        zero: 0,
        parallel: { tensor, pipeline, data },
      },
      published: { kind: 'Megatron FLOP/s', value: teraflops * 1e12, passes: 4 },
    }),
  ),
  ...recomputation(
    '22B',
    [48, 6144, 64],
    { pipeline: 1, virtual: 1, batch: 4, micro: 4 },
    { full: 1.42, selective: 1.1 },
  ),
  ...recomputation(
    '175B',
    [96, 12_288, 96],
    { pipeline: 8, virtual: 3, batch: 64, micro: 1 },
    { full: 18.13, selective: 13.75 },
  ),
  ...recomputation(
    '530B',
    [105, 20_480, 128],
    { pipeline: 35, virtual: 3, batch: 280, micro: 1 },
    { full: 49.05, selective: 37.83 },
  ),
  ...recomputation(
    '1T',
    [128, 25_600, 160],
    { pipeline: 64, virtual: 1, batch: 512, micro: 1 },
    { full: 94.42, selective: 71.49 },
  ),
  megatronCore('1.7B', [24, 2048, 16], [1, 1, 192], 408.8),
  megatronCore('7.1B', [30, 4096, 32], [2, 1, 192], 465.9),
  megatronCore('16B', [32, 6144, 48], [4, 1, 192], 489.1),
  megatronCore('32B', [48, 7168, 56], [8, 1, 192], 459.6),
  megatronCore('70B', [84, 8192, 64], [8, 2, 384], 419.7),
  megatronCore('177B', [96, 12_288, 96], [8, 6, 1152], 432.8),
  megatronCore('462B', [112, 18_432, 144], [8, 16, 3072], 459.9),
  ...bloomRow([72, 64], [8, 12, 4, 1], { seconds: 143.31, gigabytes: 29 }),
  ...bloomRow([72, 64], [8, 12, 4, 2], { seconds: 134.02, gigabytes: 37 }),
  ...bloomRow([72, 64], [8, 12, 4, 4], { seconds: 123.69, gigabytes: 49 }),
  ...bloomRow([72, 64], [8, 12, 4, 8], { seconds: 129.26, gigabytes: 69 }),
  ...bloomRow([72, 64], [8, 6, 8, 4], { seconds: 121.48, gigabytes: 56 }),
]
