/**
 * Measurements of programs of PyTorch FSDP: torchtitan, OLMo-core, fms-fsdp and litgpt. The rows of LLM Foundry are in
 * `sharded.ts`.
 */
import type { Published, PublishedModel, PublishedPlan, PublishedRow } from './row.ts'

const GIBIBYTE = 2 ** 30
const rate = (value: number): Published => ({ kind: 'tokens per second and device', value })
/** Memory as torchtitan prints it: the peak that the allocator reserved. */
const reserved = (gibibytes: number): Published => ({ kind: 'reserved bytes', value: gibibytes * GIBIBYTE })

function llama(
  [layers, width, heads, hidden]: readonly [number, number, number, number],
  vocabulary: number,
  sequence: number,
  over: PublishedModel = {},
): PublishedModel {
  const shape = { layers, width, heads, hidden, vocabulary, sequence }
  return { ...shape, activation: 'swiglu', tied: false, moe: null, ...over }
}

const grouped = { keyValueHeads: 8 }
const llama3 = {
  '8B': (sequence: number) => llama([32, 4096, 32, 14_336], 128_256, sequence, grouped),
  '70B': (sequence: number) => llama([80, 8192, 64, 28_672], 128_256, sequence, grouped),
  '405B': (sequence: number) => llama([126, 16_384, 128, 53_248], 128_256, sequence, grouped),
}
const llama2 = {
  '7B': llama([32, 4096, 32, 11_008], 32_000, 4096),
  '13B': llama([40, 5120, 40, 13_824], 32_000, 4096),
  '34B': llama([48, 8192, 64, 22_016], 32_000, 4096, grouped),
  '70B': llama([80, 8192, 64, 28_672], 32_000, 4096, grouped),
}

const fsdp = { program: 'fsdp', precision: 'bfloat16', zero: 3 } as const satisfies PublishedPlan
/** Products in float8, of weights that are gathered in float8. */
const float8 = { precision: 'float8', weights: 'float8' } as const satisfies PublishedPlan
const operations = { recompute: 'operations' } as const satisfies PublishedPlan
const full = { recompute: 'full' } as const satisfies PublishedPlan
const none = { recompute: 'none' } as const satisfies PublishedPlan
const everySecond = { recompute: 'full', recomputeLayers: 0.5 } as const satisfies PublishedPlan
const eager = { fusion: 'eager' } as const satisfies PublishedPlan

const titanH100 = {
  system: 'torchtitan 2024, H100',
  source: 'torchtitan, benchmarks/llama3_h100_202412_torchtitan.md at b5bcd76; settings and source at 9dec370',
  seen: 'read',
  device: 'h100',
  variant: { memory: '96 GB', bandwidth: '2400 GB/s', powerLimit: '500 W' },
} as const

/** A row of torchtitan's tables: the same run with its rate and its memory. */
function titan(
  name: string,
  over: Pick<PublishedRow, 'model' | 'devices' | 'batch' | 'micro'>,
  plan: PublishedPlan,
  [tokens, gibibytes]: readonly [number, number],
  assumed = 'the loss is not compiled (torchtitan at 9dec370); float8 with the flags of docs/float8.md',
): PublishedRow[] {
  const row = { ...titanH100, ...over, plan: { ...fsdp, ...plan }, assumed }
  const id = `torchtitan ${name}, H100 × ${over.devices}`
  return [
    { ...row, id, published: rate(tokens) },
    { ...row, id: `${id}, memory`, published: reserved(gibibytes) },
  ]
}

const flat = { tensor: 1, pipeline: 1 } as const

const eightB = [8, 128].flatMap((devices) => {
  const run = { model: llama3['8B'](8192), devices, batch: 2 * devices, micro: 2 }
  const [plain, compiled, scaled] =
    devices === 8
      ? ([
          [5762, 82.4],
          [6667, 77],
          [8532, 76.8],
        ] as const)
      : ([
          [5605, 67],
          [6514, 62],
          [8380, 61.8],
        ] as const)
  return [
    ...titan('Llama 3 8B', run, { ...operations, ...eager, parallel: flat }, plain),
    ...titan('Llama 3 8B, compiled', run, { ...operations, parallel: flat }, compiled),
    ...titan('Llama 3 8B, float8', run, { ...operations, ...float8, parallel: flat }, scaled),
  ]
})

const contexts = (
  [
    [1, 3890, 83.9],
    [2, 2540, 84.2],
    [4, 1071, 84],
    [8, 548, 84.5],
  ] as const
).flatMap(([context, tokens, gibibytes]) =>
  titan(
    `Llama 3 8B, context ${context}`,
    { model: llama3['8B'](32_768 * context), devices: 8, batch: 8 / context, micro: 1 },
    { ...full, ...float8, parallel: { ...flat, context } },
    [tokens, gibibytes],
  ),
)

const large = [
  ...titan(
    'Llama 3 70B, tensor 8',
    { model: llama3['70B'](8192), devices: 256, batch: 512, micro: 16 },
    { ...full, ...float8, parallel: { tensor: 8, pipeline: 1 } },
    [829, 71.9],
  ),
  ...titan(
    'Llama 3 70B, asynchronous tensor 8',
    { model: llama3['70B'](8192), devices: 256, batch: 512, micro: 16 },
    { ...full, ...float8, tensorOverlap: 0.8, parallel: { tensor: 8, pipeline: 1 } },
    [876, 67.6],
    'the loss is not compiled; asynchronous products hide 80 % of exchanges',
  ),
  ...titan(
    'Llama 3 405B, 1F1B',
    { model: llama3['405B'](8192), devices: 512, batch: 256, micro: 4 },
    { ...full, ...float8, zero: 2, tensorOverlap: 0.8, parallel: { tensor: 8, pipeline: 8 } },
    [100, 82.5],
    'a micro-batch for each stage, which is the default; asynchronous products hide 80 % of exchanges',
  ),
  ...titan(
    'Llama 3 405B, interleaved',
    { model: llama3['405B'](8192), devices: 512, batch: 256, micro: 4 },
    {
      ...{ ...full, ...float8, zero: 2, tensorOverlap: 0.8, virtualStages: 2 },
      parallel: { tensor: 8, pipeline: 8 },
    },
    [128, 72.7],
    'two stages a rank and a micro-batch for each rank, which are the defaults; asynchronous products hide 80 % of exchanges',
  ),
  ...(
    [
      [1, 76, 75.3],
      [2, 47, 75.9],
      [4, 31, 77.1],
      [8, 16, 84.9],
    ] as const
  ).flatMap(([context, tokens, gibibytes]) =>
    titan(
      `Llama 3 405B, context ${context}`,
      { model: llama3['405B'](32_768 * context), devices: 512, batch: 64 / context, micro: 1 },
      { ...full, ...float8, zero: 2, tensorOverlap: 0.8, parallel: { tensor: 8, pipeline: 8, context } },
      [tokens, gibibytes],
      'a micro-batch for each stage, which is the default; asynchronous products hide 80 % of exchanges',
    ),
  ),
]

const titanH200 = ([32, 64] as const).flatMap((devices): PublishedRow[] => {
  const row = {
    system: 'torchtitan 2025, H200',
    source: 'torchtitan, benchmarks/llama3-8b_h200_202506_trainy-whitefiber.md at b5bcd76; source at e7c0cae',
    seen: 'read',
    model: llama3['8B'](8192),
    device: 'h200',
    devices,
    batch: 2 * devices,
    micro: 2,
    plan: { ...fsdp, ...operations, ...float8, crossEntropy: { fused: 'compiled' as const }, parallel: flat },
  } as const
  const id = `torchtitan Llama 3 8B, float8, H200 × ${devices}`
  const [tokens, gibibytes] = devices === 32 ? [10_938, 47.96] : [10_753, 46.97]
  return [
    { ...row, id, published: rate(tokens) },
    { ...row, id: `${id}, memory`, published: reserved(gibibytes) },
  ]
})

const titanA100 = {
  system: 'torchtitan, A100',
  source: 'torchtitan, docs/performance.md at 3faaa1a, for those that ended for lack of memory at 395a526',
  seen: 'read',
  device: 'a100',
  devices: 64,
} as const

function onA100(name: string, model: PublishedModel, micro: number, plan: PublishedPlan, published: Published) {
  const id = `torchtitan ${name}, A100 × 64`
  const settings = { ...fsdp, ...eager, ...plan, parallel: flat }
  const assumed = 'not compiled'
  return {
    ...titanA100,
    id,
    model,
    batch: 64 * micro,
    micro,
    plan: settings,
    published,
    assumed,
  } satisfies PublishedRow
}

const lacking: Published = { kind: 'out of memory', value: 80 * GIBIBYTE }

const a100 = [
  onA100('Llama 2 13B', llama2['13B'], 2, none, rate(2162)),
  onA100('Llama 2 13B, every second layer recomputed', llama2['13B'], 2, everySecond, rate(1914)),
  onA100('Llama 2 13B, recomputed by operation', llama2['13B'], 2, operations, rate(1904)),
  onA100('Llama 2 70B, recomputed by operation', llama2['70B'], 1, operations, rate(355)),
  onA100('Llama 2 70B, recomputed', llama2['70B'], 2, full, rate(353)),
  onA100('Llama 2 70B, two sequences, every second layer recomputed', llama2['70B'], 2, everySecond, lacking),
  onA100('Llama 2 70B, two sequences, recomputed by operation', llama2['70B'], 2, operations, lacking),
  onA100('Llama 3 8B, every second layer recomputed', llama3['8B'](8192), 1, everySecond, rate(2904)),
  onA100('Llama 3 8B, recomputed by operation', llama3['8B'](8192), 1, operations, rate(2973)),
  onA100('Llama 3 70B, recomputed', llama3['70B'](8192), 1, full, rate(331)),
]

/** A row of OLMo-core: the scripts of 1.5.0 have no recomputation; norms follow the modules, which costs the same. */
function olmo(
  name: string,
  [layers, width, heads, hidden]: readonly [number, number, number, number],
  { micro, batch, plan }: { micro: number; batch: number; plan: PublishedPlan },
  rates: readonly [bfloat16: number, float8: number],
): PublishedRow[] {
  return (['bfloat16', 'float8'] as const).map((precision, i) => ({
    id: `OLMo-core ${name}${precision === 'float8' ? ', float8' : ''}, H100 × 64`,
    system: 'OLMo-core 1.5, H100',
    source: 'OLMo-core, README.md at v1.5.0; scripts src/scripts/train/OLMo-*.py',
    seen: 'read',
    model: llama([layers, width, heads, hidden], 100_352, 4096, { queryKeyNorm: 'width' }),
    device: 'h100',
    devices: 64,
    batch,
    micro,
    plan: { ...fsdp, ...none, ...plan, precision, parallel: flat },
    published: rate(rates[i] ?? Number.NaN),
    assumed: '64 devices',
  }))
}

const olmoCore = [
  ...olmo('1B', [18, 2048, 16, 5632], { micro: 4, batch: 1024, plan: {} }, [44_000, 51_000]),
  ...olmo(
    '7B',
    [32, 4096, 32, 11_008],
    { micro: 2, batch: 1024, plan: { crossEntropy: { fused: true } } },
    [10_000, 13_000],
  ),
  ...olmo(
    '13B',
    [40, 5120, 40, 13_824],
    { micro: 1, batch: 2048, plan: { crossEntropy: { fused: true } } },
    [4600, 5500],
  ),
]

/**
 * Rows of fms-fsdp: one micro-batch of two sequences, gradients reduced in 16 bits. The share of recomputed layers is not
 * printed; it follows from the ratio of HFU to MFU in the same README, 1 + share / 3.
 */
const fms = (
  [
    ['7B', none, { a100: 4550, h100: 9600 }],
    ['13B', { recompute: 'full', recomputeLayers: 0.39 }, { a100: 2150, h100: null }],
    ['13B', { recompute: 'full', recomputeLayers: 0.21 }, { a100: null, h100: 4850 }],
    ['34B', full, { a100: 820, h100: null }],
    ['34B', { recompute: 'full', recomputeLayers: 0.87 }, { a100: null, h100: 1830 }],
    ['70B', full, { a100: 410, h100: null }],
    ['70B', { recompute: 'full', recomputeLayers: 0.71 }, { a100: null, h100: 890 }],
  ] as const
).flatMap(([name, recomputation, rates]) =>
  (['a100', 'h100'] as const).flatMap((device): PublishedRow[] => {
    const tokens = rates[device]
    if (tokens === null) return []
    const devices = device === 'a100' ? 128 : 96
    return [
      {
        id: `fms-fsdp Llama 2 ${name}, ${device.toUpperCase()} × ${devices}`,
        system: `fms-fsdp, ${device.toUpperCase()}`,
        source: 'foundation-model-stack/fms-fsdp, README.md at 5a296af; fms_fsdp/config and policies',
        seen: 'read',
        model: llama2[name],
        device,
        devices,
        // 400 and 800 Gb/s a node.
        network: device === 'a100' ? '50 GB/s' : '100 GB/s',
        batch: 2 * devices,
        micro: 2,
        plan: {
          ...fsdp,
          ...recomputation,
          gradients: 'precision',
          parallel: { ...flat, shard: name === '7B' ? 8 : null },
        },
        published: rate(tokens),
        assumed: 'the share of recomputed layers follows from HFU and MFU; 400 and 800 Gb/s are those of a node',
      },
    ]
  }),
)

/** Weights, gradients and optimizer in 16 bits, a micro-batch of one sequence; gathered weights stay (`zero2`). */
const litgpt = (
  [
    ['Llama 2 7B', llama2['7B'], 13_995.8, 27.69],
    ['Llama 3 8B', llama3['8B'](8192), 12_414.15, 51.67],
  ] as const
).flatMap(([name, model, tokens, gigabytes]): PublishedRow[] => {
  const row = {
    system: 'litgpt, H100',
    source: 'Lightning-AI/lightning-thunder, pull request 1528 (`this PR`); thunder/benchmarks/benchmark_litgpt.py',
    seen: 'read',
    model,
    device: 'h100',
    devices: 8,
    batch: 8,
    micro: 1,
    plan: {
      ...fsdp,
      ...none,
      ...float8,
      zero: 2,
      master: false,
      gradients: 'precision',
      state: 'bfloat16',
      crossEntropy: { fused: 'compiled' as const },
      parallel: flat,
    },
  } as const
  const id = `litgpt ${name}, float8, H100 × 8`
  return [
    { ...row, id, published: rate(tokens) },
    { ...row, id: `${id}, memory`, published: { kind: 'allocated bytes', value: gigabytes * 1e9 } },
  ]
})

export const fsdpRows: readonly PublishedRow[] = [
  ...eightB,
  ...contexts,
  ...large,
  ...titanH200,
  ...a100,
  ...olmoCore,
  ...fms,
  ...litgpt,
]
