/** Makes the data of a shared page from a run that was read. */
import { UsageError } from '../../../core/errors.ts'
import type { RoutingIndex, RunSummary } from '../api.ts'
import type { WatchedRun } from '../runs/run.ts'
import { factsOf } from './facts.ts'
import { findMoments } from './moments/find-moments.ts'
import { ruleTexts } from './moments/rules.ts'
import type { LossSeries, RouterSeries } from './moments/series.ts'
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
