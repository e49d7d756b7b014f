/** Makes the data of a shared page from a run that was read. */
import { UsageError } from '../../../core/errors.ts'
import { grouped, plural } from '../../../core/text/numbers.ts'
import type { FlatConfig, RoutingIndex, RunSummary } from '../api.ts'
import type { WatchedRun } from '../runs/run.ts'
import { ruleTexts } from './moment-rules.ts'
import { findMoments, type LossSeries, type RouterSeries } from './moments.ts'
import type { SharedRun } from './shared-run.ts'
import { chooseSnapshots } from './snapshots.ts'

/** Most points of the curve of held-out losses. */
const MAX_EVALUATIONS = 1000

/** All but the sentence, which needs the model. @throws UsageError if the run has no loads of experts */
export function describeRun(run: WatchedRun): Omit<SharedRun, 'sentence'> {
  const summary = run.summary()
  const index = run.routing()
  if (!index) throw new UsageError(whyNoRouting(summary))
  const routers = index.routers.map((_, router) => seriesOf(run, index, router))
  const { shown, found } = findMoments({
    routers,
    heldOut: lossesOf(run, 'eval/loss'),
    training: lossesOf(run, 'train/loss'),
  })
  const { indices, packed } = chooseSnapshots(
    run,
    index,
    shown.map(({ step }) => step),
  )
  const evaluations = run.series('eval/loss', { x: 'step', smoothing: 0, points: MAX_EVALUATIONS })
  return {
    version: 1,
    name: summary.name,
    state: summary.state,
    note: summary.failure ?? summary.problem ?? null,
    step: summary.step,
    steps: summary.steps,
    facts: factsOf(summary.config, index),
    index: {
      routers: index.routers,
      experts: index.experts,
      steps: indices.map((at) => index.steps[at] ?? 0),
      of: index.of,
    },
    loads: packed,
    dropRates: routers.map(({ dropRate }) => indices.map((at) => rounded(dropRate[at] ?? null))),
    moments: shown,
    found,
    rules: ruleTexts,
    heldOut: { step: evaluations?.x ?? [], loss: evaluations?.y ?? [] },
    heldOutPart: summary.heldOutPart ?? null,
  }
}

function whyNoRouting({ name, kind, state, problem, config }: RunSummary): string {
  if (kind === 'choir' && config['model.moe'] === null)
    return `cannot share ${JSON.stringify(name)}: the model is dense, and this page is about experts (expected a run with experts)`
  if (problem !== undefined) return `cannot share ${JSON.stringify(name)}: ${problem}`
  const every = config['train.routingEvery']
  if (state === 'running')
    return `cannot share ${JSON.stringify(name)} yet: no snapshot of its experts is written (wait for the first${every === undefined ? '' : `; train.routingEvery is ${every}`})`
  return `cannot share ${JSON.stringify(name)}: it has no loads of experts (routing.jsonl is missing or has no complete snapshot)`
}

function seriesOf(run: WatchedRun, { routers, experts, steps }: RoutingIndex, router: number): RouterSeries {
  const info = routers[router] as RoutingIndex['routers'][number]
  const history = run.history(router)
  const isUniform = new Set(routers.map(({ module }) => module)).size < 2
  return {
    router,
    info,
    place: `layer ${info.layer}${isUniform ? '' : ` ${info.module}`}`,
    steps,
    tokens: (snapshot, expert) => history[snapshot * 2 * experts + expert] ?? 0,
    dropRate: run.routingSummary(router).drop_rate,
  }
}

function lossesOf(run: WatchedRun, metric: string): LossSeries {
  const track = run.track?.(metric)
  return { step: track?.step ?? [], value: track?.value ?? [] }
}

const rounded = (share: number | null): number | null => (share === null ? null : Math.round(share * 1e4) / 1e4)

type Fact = readonly [name: string, value: string]

/** @param config Settings by path, such as `model.layers`; empty for a trace, which has none */
export function factsOf(config: FlatConfig, { routers, experts }: Pick<RoutingIndex, 'routers' | 'experts'>): Fact[] {
  const text = (path: string): string | null => {
    const value = config[path]
    return value === undefined || value === null || value === '' ? null : String(value)
  }
  const number = (path: string): number | null => {
    const value = config[path]
    return typeof value === 'number' ? value : null
  }
  const hidden = number('model.moe.hidden')
  const wide = hidden === null ? '' : `, each ${grouped(hidden)} wide`
  const facts: Fact[] = [
    ['Experts', `${experts}${wide}, in each of ${plural(new Set(routers.map(({ layer }) => layer)).size, 'layer')}`],
  ]
  const width = number('model.width')
  const layers = number('model.layers')
  if (layers !== null && width !== null) facts.push(['Model', `${plural(layers, 'layer')}, ${grouped(width)} wide`])
  const router = text('model.moe.router')
  if (router !== null) facts.push(['Router', routerText(router, number('model.moe.prototypes'), number('model.moe.k'))])
  const balance = number('model.moe.balance.coefficient')
  if (balance !== null) facts.push(['Balancing loss', balance === 0 ? 'off' : `coefficient ${balance}`])
  const [capacity, factor] = [text('model.moe.capacity'), number('model.moe.factor')]
  if (capacity !== null) facts.push(['Capacity of an expert', capacityText(capacity, factor ?? 1)])
  const [steps, batch, sequence] = [number('train.steps'), number('train.batch'), number('model.sequence')]
  if (steps !== null && batch !== null && sequence !== null)
    facts.push(['Training', `${plural(steps, 'step')} of ${plural(batch * sequence, 'token')}`])
  const source = text('data.source')
  if (source !== null) facts.push(['Text', source.split(',').map(withoutFolders).join(', ')])
  const [rate, seed] = [number('train.schedule.learningRate'), number('train.seed')]
  if (rate !== null) facts.push(['Learning rate', `${rate}${seed === null ? '' : `, seed ${seed}`}`])
  return facts
}

function routerText(router: string, prototypes: number | null, k: number | null): string {
  if (router === 'switch') return 'switch: one expert for each token'
  if (router === 'prototype') return `${plural(prototypes ?? 1, 'prototype')}, top-${k ?? 1} in each`
  return `${withoutFolders(router)}, ${plural(k ?? 1, 'expert')} for each token`
}

function capacityText(capacity: string, factor: number): string {
  if (capacity === 'none') return 'unlimited'
  return capacity === 'kx' ? `${factor} times its fair share` : `${factor} × tokens over experts`
}

/** The last part of a path. Whoever gets the page does not learn where files lie on the machine that made it. */
const withoutFolders = (path: string): string => path.split(/[\\/]/).filter(Boolean).at(-1) ?? path
