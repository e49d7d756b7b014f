/**
 * Exported models choose the experts that Choir chooses: small random models of every router, by programs that share no
 * code with it.
 *
 * @slow
 */
import { afterAll, expect, test } from 'vitest'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { RoutingTracer } from '../../src/use/infer/routing-tracer.ts'
import type { Format } from '../../src/use/interchange/export/contract.ts'
import { ggufFormat } from '../../src/use/interchange/export/gguf/format.ts'
import { hfFormat } from '../../src/use/interchange/export/hf/format.ts'
import { pythonWithTorch } from '../../src/use/interchange/export/hf/python.ts'
import { onnxFormat } from '../../src/use/interchange/export/onnx/format.ts'
import { cases, moe, type Settings } from '../../src/use/interchange/export/testing/cases.ts'
import { type RandomModel, randomModel } from '../../src/use/interchange/export/testing/random-model.ts'
import { writtenExport } from '../../src/use/interchange/export/testing/written.ts'
import {
  type ExportedModel,
  ggufRoutes,
  hfRoutes,
  onnxRoutes,
  type RoutesOfExports,
  sameRoutes,
  type WindowRoutes,
} from './exported-routes.ts'

const { make } = temporaryFolder()
const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

const SEQUENCE = 32
const WINDOWS = 8
const windows = Array.from({ length: WINDOWS }, (_, w) =>
  Int32Array.from({ length: SEQUENCE }, (_, t) => (t * (w + 5) + (t % 7) * (w + 1) + w) % 23),
)

/** Choir's own routes. */
async function ownRoutes({ config, store }: RandomModel): Promise<WindowRoutes[]> {
  const { moe } = config
  if (!moe) throw new Error('the model is dense')
  const options = { batch: 1, seed: 1, capacity: 'none', separator: undefined } as const
  const tracer = await RoutingTracer.compile(runtime, { ...config, moe }, store, options)
  try {
    const found: WindowRoutes[] = []
    for (const tokens of windows) {
      tracer.batch.tokens.set(tokens)
      tracer.batch.targets.fill(0)
      const { routers } = await tracer.run('eval', 0)
      found.push(
        routers.map(({ expert_TK }) => {
          const choices = expert_TK.length / SEQUENCE
          return Array.from({ length: SEQUENCE }, (_, t) => [...expert_TK.subarray(t * choices, (t + 1) * choices)])
        }),
      )
    }
    return found
  } finally {
    tracer.release()
  }
}

const sparse = Object.entries(cases).filter(([, { moe }]) => moe !== null)
const llama: Settings = { activation: 'swiglu', embeddingScale: 1, sequence: SEQUENCE }
const ofLlamaCpp: [string, Settings][] = [
  ['gates that sum to 1', { ...llama, moe: { ...moe, softmax: 'after' } }],
  [
    'norms of heads, dense layers between',
    { ...llama, queryKeyNorm: 'head', layers: 3, moe: { ...moe, renormalize: true } },
  ],
  ['norms over width', { ...llama, queryKeyNorm: 'width', moe }],
  ['a gated shared expert', { ...llama, attentionBias: 'qkv', moe: { ...moe, sharedHidden: 7, sharedGate: true } }],
]

const formats: [string, Format, RoutesOfExports, [string, Settings][]][] = [
  ['hf', hfFormat, hfRoutes, sparse],
  ['onnx', onnxFormat, onnxRoutes, sparse],
  ['gguf', ggufFormat, ggufRoutes, ofLlamaCpp],
]
const python = await pythonWithTorch()
if (!python) console.info('exported routes: hf is skipped, no python3 with PyTorch (python3-torch of Debian)')

test.each(formats)(
  '%s chooses the experts that Choir chooses',
  async (name, format, routes, models) => {
    if (name === 'hf' && !python) return
    const exports: (ExportedModel & { readonly own: WindowRoutes[]; readonly title: string })[] = []
    for (const [title, settings] of models) {
      const model = randomModel(7, { sequence: SEQUENCE, ...settings })
      const folder = make()
      await writtenExport(format, model, { runtime, folder })
      exports.push({ folder, model: model.config, own: await ownRoutes(model), title })
    }
    let compared = 0
    for (const [i, theirs] of (await routes(exports, windows)).entries()) {
      const { own, title } = exports[i] as (typeof exports)[number]
      // A folder of a known architecture is not read by modeling_choir.py.
      if (!theirs) continue
      compared++
      for (const share of sameRoutes(own, theirs)) expect(share, title).toBeGreaterThanOrEqual(0.999)
    }
    expect(compared).toBeGreaterThan(models.length / 2)
  },
  300_000,
)

test('experts that differ are counted by router, and their order is not', () => {
  const own = [
    [
      [
        [0, 1],
        [2, 3],
      ],
      [[4], [5]],
    ],
  ]
  expect(
    sameRoutes(own, [
      [
        [
          [1, 0],
          [2, 4],
        ],
        [[4], [5]],
      ],
    ]),
  ).toEqual([0.5, 1])
  expect(() => sameRoutes(own, [[[[1, 0]], [[4], [5]]]])).toThrow('internal: router 0 has 2 choices and undefined')
  expect(() =>
    sameRoutes(own, [
      [
        [
          [0, 1],
          [2, 3],
        ],
      ],
    ]),
  ).toThrow('internal: the export has other windows or routers')
})
