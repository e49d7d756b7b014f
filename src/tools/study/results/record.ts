/**
 * The record of a run: a few kilobytes distilled from its metrics.jsonl and routing.jsonl, so that reports can
 * still be made without the run directories.
 */
import { appendFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { group } from 'd3-array'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { RunError } from '../../../core/errors.ts'
import { describeModel } from '../../../core/model/describe.ts'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import type { RoutingRecord } from '../../../core/model/routing/statistics.ts'
import { version } from '../../../core/version.ts'
import { readJsonLines } from '../../../node/system/jsonl.ts'
import { describeProcessor } from '../../../node/system/processor.ts'
import type { CapacityEvaluation, EvalRecord, RanksRecord, TrainRecord } from '../../../train/step/metrics/records.ts'
import type { Curve, FinishedRun, LayerHistory, RoutingMeans } from '../contract.ts'
import { NUMERICS } from '../grid/numerics.ts'

/** Largest number of points of a curve, and of snapshots of routing. */
const CURVE_POINTS = 100
const SNAPSHOTS = 16

export interface RunFacts {
  readonly key: string
  readonly seed: number
  readonly config: RunConfig
  readonly corpus: string
  readonly heldOut: EvalRecord
  readonly elsewhere: Readonly<Record<string, EvalRecord>>
  readonly elsewhereCorpora: Readonly<Record<string, string>>
  readonly leak: FinishedRun['leak']
}

/**
 * The record of a finished run directory.
 * @param steps Number of steps that were trained; fewer than in the configuration if the run is a rung of a search.
 * @throws RunError if its logs lack steps
 */
export async function recordOf(
  directory: string,
  facts: RunFacts,
  steps: number = facts.config.train.steps,
): Promise<FinishedRun> {
  const trained: TrainRecord[] = []
  const evaluated: EvalRecord[] = []
  for await (const line of readJsonLines<TrainRecord | EvalRecord | RanksRecord>(join(directory, 'metrics.jsonl')))
    if (line.kind === 'train') trained.push(line)
    else if (line.kind === 'eval') evaluated.push(line)
  const routing: RoutingRecord[] = []
  for await (const line of readJsonLines<RoutingRecord>(join(directory, 'routing.jsonl'))) routing.push(line)
  const { config } = facts
  if (trained.length !== steps) throw new RunError(`${directory}/metrics.jsonl has ${trained.length} steps of ${steps}`)

  const { parameters, activeParameters } = describeModel(config.model)
  const secondsAt = runningSeconds(trained)
  const tokens = steps * config.train.batch * config.model.sequence
  return {
    status: 'finished',
    version: NUMERICS,
    ...facts,
    ...(await provenanceOf(directory)),
    heldOut: rounded(facts.heldOut),
    elsewhere: Object.fromEntries(Object.entries(facts.elsewhere).map(([name, record]) => [name, rounded(record)])),
    parameters,
    activeParameters,
    tokens,
    trainFlops: tokens * usefulFlopsPerToken(config, routing),
    seconds: round(secondsAt.at(-1) ?? 0),
    train: binned(trained),
    // JSON has no NaN: a loss that was not finite is null in the log, and its evaluation is omitted.
    evaluations: evaluated
      .filter(({ loss }) => loss !== null)
      .map(({ step, loss, capacities }) => ({
        step,
        seconds: round(secondsAt[step - 1] ?? 0),
        loss: round(loss),
        losses: lossesOf(capacities),
      })),
    routing: meansOf(trained.slice(Math.floor(trained.length * 0.75))),
    layers: historiesOf(routing),
  }
}

/** The losses by rule. A loss that was not finite is null in the log, and stays null. */
function lossesOf(capacities: Readonly<Record<CapacityRule, CapacityEvaluation>>) {
  const of = (rule: CapacityRule) => {
    const loss: number | null = capacities[rule].loss
    return loss === null ? null : round(loss)
  }
  return { train: of('train'), eval: of('eval'), none: of('none') }
}

/** Cumulative wall time after each step. */
function runningSeconds(trained: readonly TrainRecord[]): number[] {
  let total = 0
  return trained.map(({ step_ms }) => {
    total += step_ms / 1000
    return total
  })
}

/** FLOPs of a token without dropped assignments, averaged over the recorded steps of routing. */
function usefulFlopsPerToken({ model, train }: RunConfig, routing: readonly RoutingRecord[]): number {
  const { denseFlopsPerToken, flopsPerAssignment } = describeModel(model)
  const steps = new Set(routing.map(({ step }) => step)).size
  const experts = sum(routing.map(({ module, kept_per_expert }) => sum(kept_per_expert) * flopsPerAssignment[module]))
  return denseFlopsPerToken + (steps > 0 ? experts / steps / (train.batch * model.sequence) : 0)
}

function binned(trained: readonly TrainRecord[]): Curve {
  const bins = Math.min(CURVE_POINTS, trained.length)
  const step: number[] = []
  const loss: (number | null)[] = []
  for (let bin = 0; bin < bins; bin++) {
    const [from, to] = [bin, bin + 1].map((edge) => Math.round((edge * trained.length) / bins))
    const part = trained.slice(from, to)
    step.push(part.at(-1)?.step ?? 0)
    // A skipped step has no loss.
    const finite = part.map((record) => record.loss).filter((value) => value !== null)
    loss.push(finite.length > 0 ? round(mean(finite)) : null)
  }
  return { step, loss }
}

function meansOf(trained: readonly TrainRecord[]): RoutingMeans {
  const of = (value: (record: TrainRecord) => number) => round(mean(trained.map(value)))
  return {
    loadCv: of((record) => record.load_cv),
    loadCvKept: of((record) => record.load_cv_kept),
    dropRate: of((record) => record.drop_rate),
    deadExperts: of((record) => record.dead_experts),
  }
}

/** Routing over time of each routed sublayer. Each snapshot is a mean over the lines since the previous snapshot. */
function historiesOf(routing: readonly RoutingRecord[]): LayerHistory[] {
  const layers = group(routing, ({ layer, module }) => `${layer} ${module}`)
  return [...layers.values()].map((records) => {
    const count = Math.min(SNAPSHOTS, records.length)
    const windows = Array.from({ length: count }, (_, i) =>
      records.slice(Math.round((i * records.length) / count), Math.round(((i + 1) * records.length) / count)),
    )
    const of = (value: (record: RoutingRecord) => number) => windows.map((window) => round(mean(window.map(value))))
    const [first] = records as [RoutingRecord]
    return {
      layer: first.layer,
      module: first.module,
      step: windows.map((window) => window.at(-1)?.step ?? 0),
      loadCv: of((record) => record.load_cv),
      loadCvKept: of((record) => record.load_cv_kept),
      dropRate: of((record) => record.drop_rate),
      entropy: of((record) => record.gate_entropy ?? 0),
      ...(records.every(({ gate_mean }) => gate_mean !== undefined) && { gate: of((record) => record.gate_mean) }),
      load: windows.map((window) => sharesOf(window.map((record) => record.tokens_per_expert))),
    }
  })
}

function sharesOf(counts: readonly (readonly number[])[]): number[] {
  const experts = counts[0]?.length ?? 0
  const totals = Array.from({ length: experts }, (_, e) => sum(counts.map((count) => count[e] ?? 0)))
  const all = sum(totals)
  return totals.map((total) => round(all > 0 ? total / all : 0, 4))
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const mean = (values: readonly number[]): number => (values.length > 0 ? sum(values) / values.length : 0)

/** Rounds to significant digits, which makes the JSON a third as long. */
const round = (value: number, digits = 6): number => Number(value.toPrecision(digits))

/**
 * Rounds everything but counts and losses. Rounded losses could differ by the same amount with every seed, which would
 * look like an effect. The losses summed over a group of documents keep five digits, an error of about 0.0001 nats a
 * token; the errors of different groups cancel.
 */
function rounded(record: EvalRecord): EvalRecord {
  const inner = (value: unknown, digits: number): unknown => {
    if (typeof value === 'number') return Number.isInteger(value) ? value : round(value, digits)
    if (Array.isArray(value)) return value.map((item) => inner(item, digits))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => {
        const isExact = name === 'loss' || name === 'losses'
        return [name, isExact ? item : inner(item, name === 'nats' ? 5 : digits)]
      }),
    )
  }
  return inner(record, 6) as EvalRecord
}

/**
 * The machine and program that computed a run. A run that was stopped may continue on another machine or with
 * a newer program, which rounds differently. So provenance.jsonl in the run directory has one line for each process.
 */

export interface Provenance {
  /** The machine, as described by {@link describeMachine}. */
  readonly machine: string
  /** Version of the program. */
  readonly program: string
  /** Kernel library with its version, precision and threads. */
  readonly engine: string
}

/** A line about this machine: processor with its instruction sets, cores, system and version of Node. */
export const describeMachine = (): string =>
  `${describeProcessor()}, ${cpus().length} logical cores, ${process.platform} ${process.arch}, Node ${process.version}`

const fileIn = (directory: string): string => join(directory, 'provenance.jsonl')

/** Appends this process to the provenance of the run. */
export function noteProcess(directory: string, engine: string): void {
  const line: Provenance = { machine: describeMachine(), program: version(), engine }
  appendFileSync(fileIn(directory), `${JSON.stringify(line)}\n`)
}

/** Distinct machines, programs and engines of a run in order of use, joined by semicolons. */
async function provenanceOf(directory: string): Promise<Provenance> {
  const lines: Provenance[] = []
  for await (const line of readJsonLines<Provenance>(fileIn(directory))) lines.push(line)
  const each = (field: keyof Provenance) => [...new Set(lines.map((line) => line[field]))].join('; ')
  return { machine: each('machine'), program: each('program'), engine: each('engine') }
}
