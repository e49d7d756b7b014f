/** One-line descriptions of a run's model, routing, engine, data and ranks. */
import { relative } from 'node:path'
import { type Difference, formatDifferent } from '../../../core/config/differences.ts'
import type { RunConfig } from '../../../core/config/run-config.ts'
import type { Places } from '../../../core/model/config/layer-config.ts'
import { headWidthOf } from '../../../core/model/config.ts'
import { isOwnLayer } from '../../../core/model/parameters.ts'
import { fixed, flops, grouped, percent } from '../../../core/text/numbers.ts'
import type { Engine } from '../../../engine/contract/engine.ts'
import type { RanksSummary } from '../../../train/loop/events.ts'
import { slowRankText } from '../../../train/loop/slow-rank.ts'
import type { CeilingReport } from '../../../train/measure/mfu.ts'
import type { Origin } from '../../../train/run/origin.ts'

/** The size of a model: `4 layers of width 192, 6 heads, sequence 128, vocabulary 2,048`. */
export function modelLine({ model }: RunConfig): string {
  return `${model.layers} layers of width ${model.width}, ${headsText(model)}, sequence ${model.sequence}, vocabulary ${grouped(model.vocabulary)}`
}

/** The attention heads: `32 heads (8 for keys and values) of 128`, `8 heads with a window of 256 in 3 of 4 layers`. */
function headsText(model: RunConfig['model']): string {
  const { heads, keyValueHeads, window, fullEvery } = model
  const shared = keyValueHeads === null || keyValueHeads === heads ? '' : ` (${keyValueHeads} for keys and values)`
  const size = model.headWidth === null ? '' : ` of ${headWidthOf(model)}`
  const some = fullEvery === 0 ? '' : fullEvery === 1 ? ' in no layer' : ` in ${fullEvery - 1} of ${fullEvery} layers`
  return `${heads} heads${shared}${size}${window === null ? '' : ` with a window of ${window}${some}`}`
}

type Moe = NonNullable<RunConfig['model']['moe']>

/** The experts, their router and capacity: `8, each 512 wide, in every layer, 2 prototypes × top-1, capacity 1x × 1.25`. */
export function routingLine({ model }: RunConfig): string {
  const { moe, layer } = model
  const own = layer ? `; ${pluginName(layer.own)} in ${placesText(layer)}` : ''
  const isDense = Array.from({ length: model.layers }, (_, i) => i).some((i) => !isOwnLayer(model, i))
  if (!moe) return `none${own}${isDense ? `; dense layers of ${model.hidden}` : ''}`
  const gated = moe.sharedGate ? ' with a gate' : ''
  const shared = moe.sharedHidden > 0 ? `, and a shared one ${moe.sharedHidden} wide${gated}` : ''
  const capacity = moe.capacity === 'none' ? 'dropless' : `capacity ${moe.capacity} × ${moe.factor}`
  const attention = { none: '', qkv: ', and of the QKV projection', all: ', and of the QKV and output projections' }
  return `${moe.experts}, each ${moe.hidden} wide${shared}, in ${placesText(moe)}${attention[moe.attention]}, ${routerName(moe)}, ${capacity}${own}`
}

/** Which layers: `every layer`, `every 2nd layer from layer 1 on`. */
function placesText({ every, from }: Places): string {
  const first = from === 0 ? '' : ` from layer ${from} on`
  return `${every === 1 ? 'every layer' : `every ${ordinal(every)} layer`}${first}`
}

/** The name of a plugin without its hash. */
const pluginName = (id: string | null): string => (id ?? '').replace(/@.*/, '')

/** The router: `2 prototypes × top-1`, `switch`, `bias top-8 from 4 of 8 groups by sigmoid scores`. */
function routerName(moe: Moe): string {
  const groups =
    moe.groupsPerToken < moe.expertGroups ? ` from ${moe.groupsPerToken} of ${moe.expertGroups} groups` : ''
  return `${choiceName(moe)}${groups}${moe.scores === 'sigmoid' ? ' by sigmoid scores' : ''}`
}

function choiceName(moe: Moe): string {
  if (moe.router === 'prototype') return `${moe.prototypes} prototype${moe.prototypes === 1 ? '' : 's'} × top-${moe.k}`
  if (moe.router === 'top-k') return `top-${moe.k}`
  if (moe.router === 'expert-choice') return `expert-choice of ${moe.k} a token`
  const router = moe.own === null ? moe.router : pluginName(moe.own)
  return moe.router === 'switch' ? 'switch' : `${router} top-${moe.k}`
}

/** Library, precision and threads: `oneDNN 3.7.2, bf16 on 2 threads`. */
export function engineLine({ device, provider, math, threads }: Engine): string {
  if (device) return `${provider}, ${math}`
  return `${provider}, ${math} on ${threads} thread${threads === 1 ? '' : 's'}`
}

/** The checkpoint that the first weights of a run came from: `runs/demo, step 2,400`. */
export function originText({ run, step }: Origin): string {
  const near = relative('', run)
  return `${near.startsWith('..') ? run : near}, step ${grouped(step)}`
}

/** A setting that differs: `train.steps 2400 → 200`. */
export const differenceText = ({ field, from, to }: Difference): string =>
  `${field} ${formatDifferent(from)} → ${formatDifferent(to)}`

/** A note that MFU may be too high, if the machine was busy while a ceiling was measured; null if it was not busy. */
export function lowerBoundNote(ceiling: CeilingReport): string | null {
  if (!ceiling.peakIsLowerBound) return null
  const [best, lowest] = [flops(ceiling.peakFlops), flops(ceiling.lowestPeakFlops)]
  return `at least ${best}/s; one measurement gave ${lowest}/s, so something else was running and MFU is an upper bound`
}

/** Rows with the parts of the time of a step on the ranks, the largest load of experts, and a slow rank. */
export function ranksRows({ ranks, compute, allToAll, allReduce, wait, load, slow }: RanksSummary): [string, string][] {
  const shares = [
    `computing ${percent(compute, 0)}`,
    ...(load ? [`all-to-all ${percent(allToAll, 0)}`] : []),
    `all-reduce ${percent(allReduce, 0)}`,
    `waiting for other ranks ${percent(wait, 0)}`,
  ]
  const rows: [string, string][] = [[`${ranks} ranks`, shares.join(', ')]]
  if (load) rows.push(['load', `at most ${fixed(load.maxOverMean, 2)} times the mean, on rank ${load.rank}`])
  if (slow) rows.push(['slow rank', slowRankText(slow)])
  return rows
}

export function sourceName({ data }: RunConfig): string {
  const [first = '', ...more] = typeof data.source === 'string' ? [data.source] : data.source
  return more.length === 0 ? first : `${first} and ${more.length} more`
}

function ordinal(n: number): string {
  const suffix = n % 100 >= 11 && n % 100 <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th')
  return `${n}${suffix}`
}
