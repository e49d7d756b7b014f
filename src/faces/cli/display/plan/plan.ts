/** Plans as text. */

import { table, titledTable, wrap } from '../../../../core/text/columns.ts'
import {
  bytes,
  count,
  fixed,
  flops,
  grouped,
  percent,
  shortTime,
  signed,
  significant,
} from '../../../../core/text/numbers.ts'
import type { Prediction } from '../../../../tools/plan/cost/predict.ts'
import type { ReceivedGradients } from '../../../../tools/plan/cost/step-end.ts'
import type { Cluster } from '../../../../tools/plan/inputs/cluster.ts'
import { demandWords, fitWords, type Interval, rangeOf } from '../../../../tools/plan/inputs/intervals.ts'
import { layoutName } from '../../../../tools/plan/inputs/layout.ts'
import { calibratedText } from '../../../../tools/plan/measured/calibrate.ts'
import type { Plan, ThroughOwners } from '../../../../tools/plan/plan.ts'
import type { MeasuredTraffic } from '../../../../tools/plan/work/measured-traffic.ts'
import type { Colors } from '../../io.ts'
import { labelled } from '../display.ts'
import { modelLine, routingLine } from '../summary.ts'
import { costLines } from './training-cost.ts'

/** Parts below this share of the total are merged into one row, "other". */
const MIN_SHARE = 0.002

/** @param columns columns of the terminal, into which tables fit */
export function planText(plan: Plan, name: string, colors: Colors, columns = Infinity): string {
  const { run, cluster, best, pareto, rejected, changes, warnings } = plan
  const [first] = best
  return [
    '',
    `  ${colors.bold(`${name} on ${cluster.name}`)}`,
    '',
    labelled(facts(plan), colors),
    ...warnings.flatMap((warning) => [
      ...wrap(`warning: ${warning}`, Math.min(columns - 2, 110)).map((line) => `  ${colors.yellow(line)}`),
      '',
    ]),
    ...(first
      ? bestLayout(plan, first, colors, columns)
      : [`  ${colors.red(`It does not fit in any layout${demanded(plan)}.`)}`, '']),
    ...section('fastest layouts that fit', layoutTable(best, cluster, colors, columns), colors),
    ...section(
      'time against memory: no layout is better in both',
      layoutTable(thinned(pareto), cluster, colors, columns),
      colors,
      thinned(pareto).some((layout) => !best.includes(layout)),
    ),
    ...section(
      first ? 'faster, but do not fit' : 'closest to fitting',
      rejectedTable(plan, colors, columns),
      colors,
      rejected.length > 0,
    ),
    ...section(
      'single changes that make it fit',
      titledTable(
        ['change', 'at the price of', 'memory', 'step'],
        changes.map(({ change, price, best: { memory, time } }) => [
          change,
          price,
          bytes(memory.deviceBytes),
          shortTime(time.stepSeconds),
        ]),
        'llrr',
        colors,
        columns,
      ),
      colors,
      changes.length > 0,
    ),
    ...(first || changes.length > 0
      ? []
      : ['  No single change makes it fit (use more devices, or devices with more memory).', '']),
    ...section(
      'bytes that a rank sends for experts in a step; busiest over the mean',
      trafficTable(plan.traffic, colors, columns),
      colors,
      plan.traffic !== undefined,
    ),
    ...costLines(plan, colors),
    ...(run.model.moe && first ? [...loadNotes(plan, first).map((note) => `  ${colors.dim(note)}`), ''] : []),
  ].join('\n')
}

/** At most 8 layouts of a Pareto front, each of which saves over 2 % of the memory of the layout before it. */
function thinned(pareto: readonly Prediction[]): Prediction[] {
  const kept: Prediction[] = []
  for (const layout of pareto) {
    const last = kept.at(-1)
    if (!last || layout.memory.deviceBytes < 0.98 * last.memory.deviceBytes) kept.push(layout)
  }
  return kept.slice(0, 8)
}

function facts({
  run,
  cluster,
  parameters,
  parametersByKind,
  activeParameters,
  load,
  traffic,
  layouts,
  fitting,
}: Plan): [string, string][] {
  const { plan, train, model } = run
  const kinds = Object.entries(parametersByKind).filter(([, number]) => number > 0)
  const { device } = cluster
  return [
    ['model', modelLine(run)],
    ['experts', routingLine(run)],
    ['parameters', `${grouped(parameters)}, ${count(activeParameters)} active for a token`],
    ['', kinds.map(([kind, number]) => `${kind} ${count(number)}`).join(', ')],
    [
      'training',
      `${plan.precision}, ${plan.optimizer ?? train.optimizer.own ?? train.optimizer.kind}, ${grouped(train.batch)} sequences (${grouped(train.batch * model.sequence)} tokens) a step`,
    ],
    [
      'cluster',
      `${grouped(cluster.devices)} × ${device.name} with ${bytes(device.memory)}, ${cluster.devicesPerNode} a node; ${flops(device.peak[plan.precision] ?? Number.NaN)}/s, ${bytes(device.bandwidth)}/s`,
    ],
    ...(cluster.calibration ?? []).map((each, i): [string, string] => [
      i === 0 ? 'measured' : '',
      calibratedText(each),
    ]),
    ['load', load],
    ...(traffic ? [['traffic', trafficNote(traffic)] as [string, string]] : []),
    ['layouts', `${grouped(layouts)} examined, ${grouped(fitting)} fit`],
  ]
}

function bestLayout(
  { cluster, fitting, throughOwners }: Plan,
  best: Prediction,
  colors: Colors,
  columns: number,
): string[] {
  const { memory, time, tokensPerSecond, mfu, interval } = best
  const { device } = cluster
  const left = [
    `memory of a device, ${bytes(memory.deviceBytes)} of ${bytes(device.memory)}`,
    ...partTable(memory.device, memory.deviceBytes, bytes),
  ]
  const right = [
    `time of a step, ${shortTime(time.stepSeconds)}`,
    ...partTable(time.parts, time.stepSeconds, shortTime),
  ]
  const fit = best.fitProbability === null ? [] : [`  does it fit? ${colors.bold(fitWords(best.fitProbability))}`]
  return [
    `  ${colors.bold('best layout')}  ${layoutName(best.layout)}`,
    `  ${colors.bold(shortTime(time.stepSeconds))} a step, ${colors.bold(count(tokensPerSecond))} tokens/s (${count(tokensPerSecond / cluster.devices)} a device), MFU ${percent(mfu)}`,
    ...(interval ? [`  80 % interval: ${intervalText(best, interval)}`] : []),
    ...fit,
    ...(interval && fitting > 1 ? upperBound(fitting, columns).map((line) => `  ${colors.dim(line)}`) : []),
    ...(time.overlappedSeconds > 0
      ? [`  ${shortTime(time.overlappedSeconds)} of communication is hidden behind computation`]
      : []),
    ...(time.gradients.bytes > 0 ? [`  ${receivedText(time.gradients)}`] : []),
    ...(throughOwners ? ownersText(throughOwners, columns).map((line) => `  ${colors.yellow(line)}`) : []),
    ...(memory.hostBytes > 0 ? [`  ${bytes(memory.hostBytes)} of the host's memory a device`] : []),
    '',
    ...sideBySide(left, right, colors, columns),
    '',
  ]
}

/** Two tables with a line of title each, the second below the first if the terminal is too narrow for both. */
function sideBySide(left: readonly string[], right: readonly string[], colors: Colors, columns: number): string[] {
  const width = Math.max(...left.map(({ length }) => length))
  const titled = (lines: readonly string[]) => lines.map((line, i) => `  ${i === 0 ? colors.dim(line) : line}`)
  if (2 + width + 5 + Math.max(...right.map(({ length }) => length)) > columns)
    return [...titled(left), '', ...titled(right)]
  return Array.from({ length: Math.max(left.length, right.length) }, (_, i) => {
    const [one, other] = [(left[i] ?? '').padEnd(width), right[i] ?? '']
    return i === 0 ? `  ${colors.dim(one)}     ${colors.dim(other)}` : `  ${one}     ${other}`.trimEnd()
  })
}

const receivedText = ({ bytes: received, rank }: ReceivedGradients): string =>
  `${rank === undefined ? 'a rank' : `rank ${grouped(rank)}, the busiest,`} receives ${bytes(received)} of gradients a step`

const ownersText = ({ gradients, stepSeconds }: ThroughOwners, columns: number): string[] =>
  wrap(
    `With choir train, where each expert has one owner among the ranks that hold it, ${receivedText(gradients)}, and a step takes ${shortTime(stepSeconds)}: plan.exchange=owners plans that.`,
    Math.min(columns - 2, 110),
  )

/** The probability with which the run has to fit, and the probability of the layout that is closest to it. */
const demanded = ({ run: { plan }, fitProbability }: Plan): string =>
  fitProbability === null ? '' : `${demandWords(plan.fitsWith)} (the closest: ${fitWords(fitProbability)})`

/**
 * Errors of single layouts are as large as their interval, so the fastest of many is often the one that was predicted
 * too fast.
 */
const upperBound = (layouts: number, columns: number): string[] =>
  wrap(
    `The best of ${grouped(layouts)} layouts is an upper bound of the speed, not a forecast: the interval holds for a given layout, and the fastest of many tends to be predicted too fast.`,
    Math.min(columns - 2, 110),
  )

/** Ranges of time, rate and memory: `1.8 s to 2.8 s a step, 197k to 307k tokens/s, 28.9 GB to 33.2 GB of memory`. */
function intervalText({ memory, time, tokensPerSecond }: Prediction, interval: Interval): string {
  const range = (value: number, factor: number, shown: (value: number) => string) =>
    rangeOf(value, factor).map(shown).join(' to ')
  return `${range(time.stepSeconds, interval.time, shortTime)} a step, ${range(tokensPerSecond, interval.time, count)} tokens/s, ${range(memory.deviceBytes, interval.memory, bytes)} of memory`
}

function partTable(parts: Readonly<Record<string, number>>, whole: number, shown: (value: number) => string): string[] {
  const entries = Object.entries(parts)
  const large = entries.filter(([, value]) => value >= MIN_SHARE * whole)
  const rest = entries.filter(([, value]) => value < MIN_SHARE * whole).reduce((sum, [, value]) => sum + value, 0)
  const rows = [...large, ...(rest > 0 ? [['other', rest] as const] : [])]
  return table(
    rows.map(([kind, value]) => [kind, shown(value), percent(value / whole, 0)]),
    'lrr',
  )
}

function layoutTable(predictions: readonly Prediction[], cluster: Cluster, colors: Colors, columns: number): string[] {
  return titledTable(
    ['layout', 'memory', 'step', 'tokens/s', 'MFU'],
    predictions.map(({ layout, memory, time, tokensPerSecond, mfu }) => [
      layoutName(layout),
      `${bytes(memory.deviceBytes)} (${percent(memory.deviceBytes / cluster.device.memory, 0)})`,
      shortTime(time.stepSeconds),
      count(tokensPerSecond),
      percent(mfu),
    ]),
    'lrrrr',
    colors,
    columns,
  )
}

function rejectedTable({ rejected, cluster }: Plan, colors: Colors, columns: number): string[] {
  return titledTable(
    ['layout', 'over by', 'largest part', 'step'],
    rejected.map(({ prediction: { layout, memory, time }, lackingBytes }) => {
      const lacksHost = memory.deviceBytes <= cluster.device.memory
      const [[kind, value] = ['', 0]] = Object.entries(memory.device).sort(([, a], [, b]) => b - a)
      return [
        layoutName(layout),
        bytes(lackingBytes),
        lacksHost ? `host memory ${bytes(memory.hostBytes)}` : `${kind} ${bytes(value)}`,
        shortTime(time.stepSeconds),
      ]
    }),
    'lrlr',
    colors,
    columns,
  )
}

const trafficNote = ({ directory, expert, steps }: MeasuredTraffic): string =>
  `measured in ${directory}: ${expert} ranks share experts, ${steps} steps`

/** Maximum number of modules in the table of traffic, which has the modules with the largest imbalance. */
const TRAFFIC_ROWS = 8

/** The bytes that even loads would send, as predicted, beside the measured bytes. */
function trafficTable(traffic: MeasuredTraffic | undefined, colors: Colors, columns: number): string[] {
  if (!traffic) return []
  const shown = traffic.modules.toSorted((a, b) => b.imbalance - a.imbalance).slice(0, TRAFFIC_ROWS)
  const rows = shown.map(({ layer, module, evenBytes, meanBytes, imbalance, pairImbalance }) => [
    `${layer}${module === 'ffn' ? '' : ` ${module}`}`,
    bytes(evenBytes),
    bytes(meanBytes),
    `${fixed(imbalance, 2)}×`,
    `${fixed(pairImbalance, 2)}×`,
  ])
  const titles = ['layer', 'predicted, even', 'measured', 'busiest rank', 'busiest pair']
  return titledTable(titles, rows, 'lrrrr', colors, columns)
}

function loadNotes(
  { run, uneven }: Plan,
  { dropped, padding, imbalance, tokensPerExpert, cv, time }: Prediction,
): string[] {
  const work = `The slowest rank computes ${fixed(imbalance, 2)} times the mean; ${percent(dropped)} of assignments dropped; ${percent(padding)} of expert rows are padding.`
  if (!run.plan.load.sampling || cv === 0) return [work]
  const cases = uneven.map(
    (each) =>
      `c_v ${each.cv} takes ${shortTime(each.stepSeconds)} (${signed(100 * (each.stepSeconds / time.stepSeconds - 1), 0)} %), drops ${percent(each.dropped)}`,
  )
  return [
    work,
    `A micro-batch of a rank has ${significant(tokensPerExpert)} tokens for an expert on average, with c_v ${fixed(cv, 2)}${uneven.length > 0 ? ' by chance alone' : ''}.`,
    ...(cases.length > 0 ? [`If the router prefers experts, a step with ${cases.join('; ')}.`] : []),
  ]
}

function section(title: string, lines: readonly string[], colors: Colors, shown = lines.length > 1): string[] {
  return shown ? [`  ${colors.bold(title)}`, ...lines, ''] : []
}
