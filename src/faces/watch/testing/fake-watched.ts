/** A collection without files for tests: a run, a trace, a dense run, and a run with too many experts to send. */
import type { Change, RanksOfSteps, RunSummary, TokenTrace } from '../api.ts'
import type { Watched } from '../http/app.ts'
import type { Page } from '../http/site.ts'
import type { WatchedRun } from '../runs/collection.ts'

const summary: RunSummary = {
  id: 'a1',
  path: 'demo',
  name: 'demo',
  kind: 'choir',
  state: 'running',
  step: 30,
  steps: 100,
  tokens: 3000,
  loss: 4,
  heldOutLoss: null,
  bitsPerByte: null,
  tokensPerSecond: 100,
  secondsLeft: 70,
  created: null,
  changed: 1,
  lines: 30,
  reading: false,
  metrics: ['train/loss'],
  routed: true,
  ranked: false,
  traceable: true,
  checkpoint: null,
  config: { 'model.width': 32 },
}

const ranksOf = (run: string): RanksOfSteps => ({
  run,
  steps: [10, 20, 30],
  of: 3,
  from: 10,
  to: 30,
  used: 3,
  compute: [5, 6],
  computeOverOthers: [1, 1],
  allToAll: [0, 0],
  allReduce: [1, 1],
  wait: [1, 0],
  waitedFor: [0, 1],
  kept: [null, null],
  roster: [],
})

const recorded: TokenTrace = { run: 't1', step: 20, loss: null, tokens: [''], cut: false, routers: [] }

const numbers = (length: number, first: number): Float32Array => Float32Array.from({ length }, (_, i) => first + i / 4)

type SeriesQuery = Parameters<WatchedRun['series']>[1]

export interface FakeWatched extends Watched {
  change(change: Change): void
  readonly listeners: ReadonlySet<unknown>
  /** Every call of `series`. */
  readonly asked: [metric: string, query: SeriesQuery][]
}

export function fakeWatched(directory = '/nowhere'): FakeWatched {
  const listeners = new Set<(change: Change) => void>()
  const asked: FakeWatched['asked'] = []
  const run = (id: string, kind: WatchedRun['kind'], experts = 4): WatchedRun => ({
    id,
    directory,
    kind,
    summary: () => ({ ...summary, id, kind }),
    series(metric, query) {
      asked.push([metric, query])
      if (metric !== 'train/loss') return undefined
      return { run: id, x: [1, 2], y: [5, null], of: 2 }
    },
    track: (metric) =>
      metric === 'eval/loss'
        ? { step: Float64Array.of(10), tokens: Float64Array.of(1000), value: Float64Array.of(id === 'a1' ? 5 : 4) }
        : undefined,
    routing: () => ({
      run: id,
      routers: [0, 1].map((layer) => ({ layer, module: 'ffn', experts, prototypes: 1 })),
      experts,
      steps: [10, 20, 30],
      of: 3,
      generation: 0,
    }),
    // A view into a larger buffer.
    loads: (from, to) => numbers(100, 0).subarray(from * 16, to * 16),
    history: (router) => numbers(24, 100 * router),
    routingSummary: () => ({
      load_cv: [0.5, null, 0.25],
      load_cv_kept: [],
      drop_rate: [],
      gate_mean: [],
      gate_entropy: [],
      dead_experts: [],
      max_over_mean: [],
    }),
    ranks: (span, step) => (id === 'a1' ? { ...ranksOf(id), used: span, to: step ?? 30 } : undefined),
    failureRecord: async () => (id === 'a1' ? Buffer.from('{"step":6}') : undefined),
    ...(kind === 'trace' && { recorded: async (snapshot: number) => ({ ...recorded, step: 10 + 10 * snapshot }) }),
  })
  const dense: WatchedRun = { ...run('d1', 'choir'), routing: () => undefined }
  const runs = new Map(
    [run('a1', 'choir'), run('t1', 'trace'), dense, run('w1', 'choir', 1e7)].map((each) => [each.id, each]),
  )
  return {
    describe: () => ({
      version: 7,
      roots: ['runs'],
      runs: [...runs.values()].map((each) => each.summary()),
      progress: null,
    }),
    run: (id) => runs.get(id),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    change(change) {
      for (const listener of listeners) listener(change)
    },
    listeners,
    asked,
  }
}

const file = (text: string, type: string, hashed: boolean) => ({ bytes: new TextEncoder().encode(text), type, hashed })

export const fakePage: Page = new Map([
  ['/', file('<!doctype html>', 'text/html; charset=utf-8', false)],
  ['/assets/index-abc.js', file('1', 'text/javascript; charset=utf-8', true)],
])
