/** A plan as a report: memory, time, layouts, changes that make it fit, and what-if questions. */

import { count, duration, grouped, percent, shortTime, significant } from '../../core/text/numbers.ts'
import { writeOutput } from '../../node/system/output-file.ts'
import type { BarFigure, Block, ScatterFigure, Table } from '../report/blocks.ts'
import { renderHtml } from '../report/page/html.ts'
import type { Report, Section } from '../report/report.ts'
import { LIKELY_FAILURES, NO_PROGRESS } from './cost/failures.ts'
import { type BytesByKind, memoryKinds, total } from './cost/memory.ts'
import type { Prediction } from './cost/predict.ts'
import { timeKinds } from './cost/time-kinds.ts'
import { demandWords, fitWords, rangeOf } from './inputs/intervals.ts'
import { layoutName, recomputationName } from './inputs/layout.ts'
import { calibratedText } from './measured/calibrate.ts'
import type { Budget, Plan } from './plan.ts'
import type { WhatIf } from './what-if.ts'

export interface PlanReport {
  /** The preset or file that was planned, as the user named it. */
  readonly name: string
  readonly plan: Plan
  readonly questions: readonly WhatIf[]
  /** The command that reproduces the report. */
  readonly command: string
}

/** Writes the report as one HTML file. */
export const writePlanReport = (file: string, report: PlanReport): Promise<void> =>
  writeOutput(file, renderHtml(reportOf(report)))

export function reportOf({ name, plan, questions, command }: PlanReport): Report {
  const { cluster, run, parameters, activeParameters, load, traffic } = plan
  const tokens = run.train.batch * run.model.sequence
  return {
    title: `${name} on ${cluster.name}`,
    command,
    facts: [
      `${count(parameters)} parameters, ${count(activeParameters)} active for a token`,
      `${grouped(cluster.devices)} × ${cluster.device.name}, ${cluster.devicesPerNode} a node`,
      `${run.plan.precision}, ${run.plan.optimizer ?? run.train.optimizer.own ?? run.train.optimizer.kind}, ${grouped(tokens)} tokens a step`,
      ...(cluster.calibration ?? []).map((each) => `measured: ${calibratedText(each)}`),
      `load of the experts: ${load}`,
      ...(traffic ? [`traffic between ranks: measured in ${traffic.directory}`] : []),
    ],
    sections: [summary(plan), memory(plan), time(plan), tradeOff(plan), changes(plan), ...questions.map(answer)].filter(
      ({ verdicts, blocks }) => verdicts.length + blocks.length > 0,
    ),
  }
}

function summary(plan: Plan): Section {
  const { best, budget, cluster, run, layouts, fitting, fitProbability, rejected, warnings } = plan
  const [first] = best
  const section = { id: 'summary', title: 'Summary', about: '', blocks: [] }
  if (!first) {
    const [nearest] = rejected
    const lacking = nearest
      ? ` The nearest, ${layoutName(nearest.prediction.layout)}, lacks ${gigabytes(nearest.lackingBytes)} GB a device.`
      : ''
    const chance = fitProbability === null ? '' : ` (the closest: ${fitWords(fitProbability)})`
    return {
      ...section,
      verdicts: [
        ...warnings.map((warning) => `Warning: ${warning}.`),
        `Does it fit: no, none of ${grouped(layouts)} layouts does${demandWords(run.plan.fitsWith)}${chance}.${lacking}`,
      ],
    }
  }
  const price = budget?.price === undefined ? '' : `, ${grouped(Math.round(budget.price))} at the given price`
  const { interval } = first
  const range = (value: number, factor: number | null | undefined, shown: (value: number) => string) =>
    factor ? ` (80 % interval: ${rangeOf(value, factor).map(shown).join(' to ')})` : ''
  const hours = (value: number) => grouped(Math.round(value))
  return {
    ...section,
    verdicts: [
      ...warnings.map((warning) => `Warning: ${warning}.`),
      `Does it fit: ${fitProbability === null ? 'yes' : fitWords(fitProbability)}; ${grouped(fitting)} of ${grouped(layouts)} layouts do${demandWords(run.plan.fitsWith)}.`,
      `The fastest layout: ${layoutName(first.layout)}.${first.interval && fitting > 1 ? ' The best of several is an upper bound of the speed, not a forecast.' : ''}`,
      `Memory: ${gigabytes(first.memory.deviceBytes)} of ${gigabytes(cluster.device.memory)} GB a device${range(first.memory.deviceBytes, interval?.memory, (value) => `${gigabytes(value)} GB`)}.`,
      `Time: ${shortTime(first.time.stepSeconds)} a step${range(first.time.stepSeconds, interval?.time, shortTime)}, ${count(first.tokensPerSecond)} tokens a second${range(first.tokensPerSecond, interval?.time, count)}, MFU ${percent(first.mfu)} (share of the devices' peak rate that the model uses).`,
      ...(budget
        ? [
            `The whole training: ${count(budget.tokens)} tokens in ${duration(budget.seconds)}${range(budget.seconds, budget.factor, duration)}, ${hours(budget.deviceHours)} device-hours${range(budget.deviceHours, budget.factor, hours)}${price}.`,
            ...withFailures(budget),
          ]
        : []),
      `Experts: the slowest rank computes ${first.imbalance.toFixed(2)} times the mean, ${percent(first.dropped)} of assignments (of a token to an expert) are dropped because the expert is full, ${percent(first.padding)} of expert rows are empty padding.`,
      ...plan.uneven.map(
        (each) =>
          `With uneven loads of c_v ${each.cv}: ${shortTime(each.stepSeconds)} a step, ${percent(each.dropped)} of assignments dropped.`,
      ),
    ],
  }
}

/** A sentence on the time with failures; none if a failure is unlikely. */
function withFailures({ seconds, failures }: Budget): string[] {
  if (!failures || seconds / failures.everySeconds < LIKELY_FAILURES) return []
  const { everySeconds, checkpointEvery, goodput } = failures
  const often = `a failure every ${shortTime(everySeconds)} and a checkpoint every ${shortTime(checkpointEvery)}`
  if (goodput < NO_PROGRESS) return [`With failures it hardly makes progress, with ${often}.`]
  return [`With failures: ${duration(seconds / goodput)}, goodput ${percent(goodput)}, with ${often}.`]
}

/** The fastest layouts that fit, and the first of the layouts that do not fit. */
const layoutsToShow = ({ best, rejected }: Plan): { prediction: Prediction; note: string }[] => [
  ...best.slice(0, 3).map((prediction) => ({ prediction, note: '' })),
  ...rejected.slice(0, 3).map(({ prediction }) => ({ prediction, note: 'does not fit' })),
]

/** A figure of bars, with the kinds that are above zero in some row. */
function bars<Kind extends string>(
  figure: Pick<BarFigure, 'id' | 'caption' | 'limit'> & { readonly unit: string },
  kinds: readonly Kind[],
  rows: readonly { label: string; note: string; values: Readonly<Record<Kind, number>> }[],
): BarFigure {
  const parts = kinds.filter((kind) => rows.some(({ values }) => values[kind] > 0))
  const { unit, ...rest } = figure
  return {
    ...rest,
    kind: 'figure',
    form: 'bars',
    x: { label: unit, scale: 'linear' },
    parts,
    rows: rows.map(({ label, note, values }) => ({ label, note, values: parts.map((kind) => values[kind]) })),
  }
}

/** The largest kinds in descending order: `experts 1.69 s (75.4 %)`. */
function largest(values: Readonly<Record<string, number>>, unit: string): string {
  const sum = total(values)
  return Object.entries(values)
    .filter(([, value]) => value >= 0.05 * sum)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 4)
    .map(([kind, value]) => `${kind} ${significant(value)} ${unit} (${percent(value / sum)})`)
    .join(', ')
}

function memory(plan: Plan): Section {
  const rows = layoutsToShow(plan).map(({ prediction, note }) => ({
    label: layoutName(prediction.layout),
    note,
    values: inGigabytes(prediction.memory.device),
  }))
  const caption = 'Memory of a device by kind, in the pipeline stage that needs the most.'
  const limit = { value: plan.cluster.device.memory / 1e9, label: 'memory of the device' }
  return {
    id: 'memory',
    title: 'Memory',
    about: '',
    verdicts: rows.slice(0, 1).map(({ label, values }) => `Largest parts of ${label}: ${largest(values, 'GB')}.`),
    blocks: [bars({ id: 'memory', caption, limit, unit: 'GB' }, memoryKinds, rows)],
  }
}

const inGigabytes = (bytes: BytesByKind): BytesByKind => ({
  ...bytes,
  ...Object.fromEntries(memoryKinds.map((kind) => [kind, bytes[kind] / 1e9])),
})

function time(plan: Plan): Section {
  const rows = layoutsToShow(plan).map(({ prediction, note }) => ({
    label: layoutName(prediction.layout),
    note,
    values: prediction.time.parts,
  }))
  const caption =
    'Time of a step by kind, on the slowest rank of the slowest pipeline stage. Hidden communication is not included.'
  const [first] = layoutsToShow(plan)
  const hidden = first?.prediction.time.overlappedSeconds ?? 0
  return {
    id: 'time',
    title: 'Time',
    about: '',
    verdicts: [
      ...rows.slice(0, 1).map(({ label, values }) => `Largest parts of ${label}: ${largest(values, 's')}.`),
      ...(hidden > 0 ? [`Another ${significant(hidden)} s of communication is hidden by computation.`] : []),
    ],
    blocks: [bars({ id: 'time', caption, unit: 'seconds' }, timeKinds, rows)],
  }
}

function tradeOff({ pareto, cluster, best }: Plan): Section {
  const shortName = withoutCommonParts(pareto.map(({ layout }) => layoutName(layout)))
  const figure: ScatterFigure = {
    kind: 'figure',
    form: 'scatter',
    id: 'trade-off',
    caption: 'Layouts that no other beats in both time and memory.',
    x: { label: 'memory of a device, GB', scale: 'linear' },
    y: { label: 'seconds a step', scale: 'log' },
    points: pareto.map(({ layout, memory: { deviceBytes }, time: { stepSeconds } }) => ({
      label: shortName(layoutName(layout)),
      group: recomputationName(layout.recompute),
      x: deviceBytes / 1e9,
      y: stepSeconds,
    })),
  }
  const blocks: Block[] = [
    ...(pareto.length > 1 ? [figure] : []),
    ...(best.length > 0 ? [layoutTable('The fastest layouts', best, cluster.device.memory)] : []),
  ]
  const [fastest] = pareto
  const smallest = pareto.at(-1)
  const verdicts =
    fastest && smallest && fastest !== smallest
      ? [
          `From the fastest layout to the smallest, memory falls from ${gigabytes(fastest.memory.deviceBytes)} to ${gigabytes(smallest.memory.deviceBytes)} GB and a step takes ${(smallest.time.stepSeconds / fastest.time.stepSeconds).toFixed(2)} times as long.`,
        ]
      : []
  return { id: 'layouts', title: 'Layouts', about: '', verdicts, blocks }
}

/** Removes the parts that all names share from a name, unless it has no other parts. */
function withoutCommonParts(names: readonly string[]): (name: string) => string {
  const partsOf = (name: string) => name.split(' · ')
  const common = new Set(partsOf(names[0] ?? '').filter((part) => names.every((name) => partsOf(name).includes(part))))
  return (name) =>
    partsOf(name)
      .filter((part) => !common.has(part))
      .join(' · ') || name
}

function layoutTable(caption: string, predictions: readonly Prediction[], memoryBytes: number): Table {
  return {
    kind: 'table',
    caption,
    columns: [
      { title: 'layout', align: 'left' },
      ...['memory, GB', 'share of the device', 'step, s', 'tokens/s', 'MFU'].map((title) => ({
        title,
        align: 'right' as const,
      })),
    ],
    rows: predictions.map(({ layout, memory: { deviceBytes }, time: { stepSeconds }, tokensPerSecond, mfu }) => [
      layoutName(layout),
      gigabytes(deviceBytes),
      percent(deviceBytes / memoryBytes),
      significant(stepSeconds),
      count(tokensPerSecond),
      percent(mfu),
    ]),
  }
}

function changes({ changes: found }: Plan): Section {
  const table: Table = {
    kind: 'table',
    caption: 'Single changes that make it fit',
    columns: [
      { title: 'change', align: 'left' },
      { title: 'at the price of', align: 'left' },
      { title: 'memory, GB', align: 'right' },
      { title: 'step, s', align: 'right' },
    ],
    rows: found.map(({ change, price, best }) => [
      change,
      price,
      gigabytes(best.memory.deviceBytes),
      significant(best.time.stepSeconds),
    ]),
  }
  return {
    id: 'changes',
    title: 'What would make it fit',
    about: '',
    verdicts: found.slice(0, 1).map(({ change, price }) => `The smallest change: ${change}, at the price of ${price}.`),
    blocks: found.length > 0 ? [table] : [],
  }
}

/** The best layout for every value of a question, and its time by kind. */
function answer({ field, cases }: WhatIf, index: number): Section {
  const fitting = cases.flatMap(({ value, plan: { best } }) => (best[0] ? [{ value, best: best[0] }] : []))
  const [first] = fitting
  const rows = fitting.map(({ value, best }) => ({
    label: value,
    note: layoutName(best.layout),
    values: best.time.parts,
  }))
  const caption = `Time of a step by kind, in the best layout for each value of ${field}.`
  const notFitting = cases.filter(({ plan: { best } }) => best.length === 0).map(({ value }) => value)
  const compared = fitting
    .slice(1)
    .map(
      ({ value, best }) => `${(best.time.stepSeconds / (first?.best.time.stepSeconds ?? 1)).toFixed(2)} for ${value}`,
    )
  return {
    id: `question-${index + 1}`,
    title: `What if ${field} changes`,
    about: '',
    verdicts: [
      ...(first && compared.length > 0 ? [`Step time relative to ${first.value}: ${compared.join(', ')}.`] : []),
      ...(notFitting.length > 0 ? [`Does not fit: ${notFitting.join(', ')}.`] : []),
    ],
    blocks: fitting.length > 0 ? [bars({ id: `what-if-${index + 1}`, caption, unit: 'seconds' }, timeKinds, rows)] : [],
  }
}

const gigabytes = (bytes: number): string => significant(bytes / 1e9)
