/**
 * Tables for notebooks and databases. results.parquet has one row per run, with the step time of its arm; every setting
 * by which arms differ has its own column, named by its path. curves.parquet has one row for each run and each step at
 * which the run has a loss. The columns arm, seed and rate identify the run in results.parquet; in a study with
 * branches, `branch` (the share of the steps of the arm) is needed too.
 *
 * A column has the same type in every study, whatever its values, so that files of several studies can be joined. Only
 * the type of a setting follows from its values.
 */
import { parquetWriteBuffer } from 'hyparquet-writer'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { columnNames } from '../../../core/text/column-names.ts'
import type { FinishedRun, RunRecord, StudyResults, Timing } from '../contract.ts'
import { atCapacity, otherTextsOf } from '../held-out.ts'
import { decisivenessOf } from '../results/decisiveness.ts'
import { mean } from '../statistics.ts'

type Value = string | number | null
type Type = 'STRING' | 'INT64' | 'DOUBLE'

interface Column<Row> {
  /** Its words; the name in the file is made from them. */
  readonly title: string
  readonly type: Type
  readonly value: (row: Row) => Value | undefined
}

/** A row of results.parquet: a run, or an arm that is only timed. */
interface RunRow {
  readonly arm: string
  readonly seed: number | null
  readonly rate: string | null
  readonly share: number | undefined
  readonly status: string
  readonly record: RunRecord | null
  /** The record if the run is finished. */
  readonly run: FinishedRun | null
  readonly timing: Timing | undefined
}

/**
 * The bytes of results.parquet. Missing and failed runs have a row with their status and no results. An arm that was
 * only timed has a row without a seed.
 */
export function parquetOf(results: StudyResults): Uint8Array {
  const timings = new Map(results.timings.map((timing) => [timing.arm, timing]))
  const trained = new Set(results.cells.map(({ arm }) => arm))
  const rows: RunRow[] = [
    ...results.cells.map(({ arm, seed, rate, share, record }) => ({
      arm,
      seed,
      rate,
      share,
      status: record?.status ?? 'missing',
      record,
      run: record?.status === 'finished' ? record : null,
      timing: timings.get(arm),
    })),
    ...results.timings
      .filter(({ arm }) => !trained.has(arm))
      .map((timing) => ({
        arm: timing.arm,
        seed: null,
        rate: null,
        share: undefined,
        status: 'timed',
        record: null,
        run: null,
        timing,
      })),
  ]
  return bytesOf(results, rows, [
    ...identity(results),
    number('learning_rate', ({ record }) => record?.config.train.schedule.learningRate),
    whole('steps', ({ run }) => run?.train.step.at(-1)),
    text('status', ({ status }) => status),
    text('error', ({ record }) => (record?.status === 'failed' ? record.error : null)),
    ...settingColumns(results),
    ...runColumns,
    ...otherTextsOf(results).map((source) =>
      number<RunRow>(`held_out_loss ${source}`, ({ run }) => run?.elsewhere[source]?.loss),
    ),
  ])
}

/** A row of curves.parquet: a step of a run. */
interface StepRow {
  readonly arm: string
  readonly seed: number
  readonly rate: string
  readonly share: number | undefined
  readonly step: number
  readonly trainLoss: number | null | undefined
  readonly heldOutLoss: number | undefined
}

/**
 * The bytes of curves.parquet. A row has the training loss, a mean over up to a hundredth of the steps that ends with
 * the step of the row, and the held-out loss of an evaluation during training, on the first held-out batches at the
 * capacity of the study. The loss on all held-out text after the last step is in results.parquet.
 */
export function curvesParquetOf(results: StudyResults): Uint8Array {
  const rows = results.cells.flatMap(({ arm, seed, rate, share, record }): StepRow[] => {
    if (record?.status !== 'finished') return []
    const { train, evaluations } = atCapacity(record, results.capacity)
    const trained = new Map(train.step.map((step, i) => [step, train.loss[i]]))
    const heldOut = new Map(evaluations.map(({ step, loss }) => [step, loss]))
    const steps = [...new Set([...trained.keys(), ...heldOut.keys()])].sort((a, b) => a - b)
    return steps.map((step) => ({
      arm,
      seed,
      rate,
      share,
      step,
      trainLoss: trained.get(step),
      heldOutLoss: heldOut.get(step),
    }))
  })
  return bytesOf(results, rows, [
    ...identity(results),
    whole('step', ({ step }) => step),
    number('train_loss', ({ trainLoss }) => trainLoss),
    number('held_out_loss', ({ heldOutLoss }) => heldOutLoss),
  ])
}

/** The columns that find a run, with `branch` only in a study with branches. */
function identity({ cells }: StudyResults): Column<Pick<RunRow, 'arm' | 'seed' | 'rate' | 'share'>>[] {
  const hasBranches = cells.some(({ share }) => share !== undefined)
  return [
    text('arm', ({ arm }) => arm),
    whole('seed', ({ seed }) => seed),
    text('rate', ({ rate }) => rate),
    ...(hasBranches ? [number<{ readonly share: number | undefined }>('branch', ({ share = 1 }) => share)] : []),
  ]
}

/** A column for each setting by which arms differ: whole numbers, numbers or text, by the values of all arms. */
function settingColumns({ arms }: StudyResults): Column<Pick<RunRow, 'arm'>>[] {
  const fields = [...new Set(Object.values(arms).flatMap((settings) => Object.keys(settings)))].sort()
  return fields.map((field) => {
    const known = Object.values(arms)
      .map((settings) => cellValue(settings[field]))
      .filter((value) => value !== null)
    const isNumeric = known.every((value) => typeof value === 'number')
    const type = !isNumeric ? 'STRING' : known.every(Number.isSafeInteger) ? 'INT64' : 'DOUBLE'
    return { title: field, type, value: ({ arm }) => cellValue(arms[arm]?.[field]) }
  })
}

const text = <Row>(title: string, value: Column<Row>['value']): Column<Row> => ({ title, type: 'STRING', value })
const whole = <Row>(title: string, value: Column<Row>['value']): Column<Row> => ({ title, type: 'INT64', value })
const number = <Row>(title: string, value: Column<Row>['value']): Column<Row> => ({ title, type: 'DOUBLE', value })

const underRule = (rule: CapacityRule): Column<RunRow>[] => [
  number(`held_out_loss_capacity_${rule}`, ({ run }) => run?.heldOut.capacities[rule].loss),
  number(`drop_rate_capacity_${rule}`, ({ run }) => run?.heldOut.capacities[rule].drop_rate),
  number(`unserved_rate_capacity_${rule}`, ({ run }) => run?.heldOut.capacities[rule].unserved_rate),
]

const runColumns: readonly Column<RunRow>[] = [
  number('held_out_loss', ({ run }) => run?.heldOut.loss),
  ...(['train', 'eval', 'none'] as const).flatMap(underRule),
  number('leak_capacity_train', ({ run }) => run?.leak.train),
  number('leak_capacity_eval', ({ run }) => run?.leak.eval),
  number('bits_per_byte', ({ run }) => run?.heldOut.bits_per_byte),
  number('held_out_drop_rate', ({ run }) => run?.heldOut.drop_rate),
  number('held_out_unserved_rate', ({ run }) => run?.heldOut.unserved_rate),
  whole('evaluated_tokens', ({ run }) => run?.heldOut.evaluated_tokens),
  whole('parameters', ({ run }) => run?.parameters),
  whole('active_parameters', ({ run }) => run?.activeParameters),
  whole('tokens', ({ run }) => run?.tokens),
  number('train_flops', ({ run }) => run?.trainFlops),
  number('train_seconds', ({ run }) => run?.seconds),
  // Medians of the arm, over all turns, and of its fastest and slowest turn, measured alone on the machine.
  number('step_ms', ({ timing }) => timing?.stepMs),
  number('step_ms_lowest', ({ timing }) => turnOf(timing, Math.min)),
  number('step_ms_highest', ({ timing }) => turnOf(timing, Math.max)),
  number('load_cv', ({ run }) => run?.routing.loadCv),
  number('load_cv_kept', ({ run }) => run?.routing.loadCvKept),
  number('drop_rate', ({ run }) => run?.routing.dropRate),
  number('dead_experts', ({ run }) => run?.routing.deadExperts),
  number('gate_mean', ({ run }) => meanOverLayers(run, 'gate')),
  number('entropy_share', ({ run }) => meanOverLayers(run, 'entropyShare')),
  text('corpus', ({ run }) => run?.corpus),
  text('engine', ({ run }) => run?.engine),
  text('machine', ({ run }) => run?.machine),
  text('program', ({ run }) => run?.program),
  text('step_engine', ({ timing }) => timing?.engine),
  text('step_machine', ({ timing }) => timing?.machine),
]

const turnOf = (timing: Timing | undefined, pick: (...turns: number[]) => number): number | null =>
  timing && timing.turnsMs.length > 0 ? pick(...timing.turnsMs) : null

const meanOverLayers = (run: FinishedRun | null, of: 'gate' | 'entropyShare'): number | null =>
  mean(run ? decisivenessOf(run).flatMap((layer) => layer[of] ?? []) : [])

const cellValue = (value: unknown): Value =>
  typeof value === 'number' || typeof value === 'string' ? value : value === undefined ? null : JSON.stringify(value)

function bytesOf<Row>(results: StudyResults, rows: readonly Row[], columns: readonly Column<Row>[]): Uint8Array {
  const names = columnNames(columns.map(({ title }) => title))
  const buffer = parquetWriteBuffer({
    columnData: columns.map(({ type, value }, i) => ({
      name: names[i] ?? '',
      data: rows.map((row) => stored(value(row) ?? null, type)),
      type,
      nullable: true,
    })),
    kvMetadata: [
      { key: 'study', value: results.name },
      { key: 'command', value: results.command },
    ],
  })
  return new Uint8Array(buffer)
}

function stored(value: Value, type: Type): string | number | bigint | null {
  if (value === null) return null
  if (type === 'INT64') return BigInt(value)
  return type === 'STRING' ? String(value) : value
}
