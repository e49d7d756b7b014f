/**
 * Tables for notebooks and databases. results.parquet has one row per run; every setting by which arms differ has its
 * own column, named by its path. curves.parquet has one row for each run and each step at which the run has a loss. The
 * columns arm, seed and rate identify the run in results.parquet; in a study with branches, `branch` (the share of the
 * steps of the arm) is needed too. Whole numbers are INT64.
 */
import { parquetWriteBuffer } from 'hyparquet-writer'
import type { FinishedRun, StudyResults } from '../contract.ts'
import { mean } from '../statistics.ts'
import { decisivenessOf } from './decisiveness.ts'
import { atCapacity, otherTextsOf } from './held-out.ts'

type Value = string | number | null
type Row = Record<string, Value>

/** Columns of whole numbers, whatever values they have. Columns of settings are found by their values instead. */
const wholeColumns: ReadonlySet<string> = new Set([
  'seed',
  'step',
  'steps',
  'evaluated_tokens',
  'parameters',
  'active_parameters',
  'tokens',
])

/** The bytes of results.parquet. Missing and failed runs have a row with their status and no results. */
export function parquetOf(results: StudyResults): Uint8Array {
  const fields = [...new Set(Object.values(results.arms).flatMap((settings) => Object.keys(settings)))].sort()
  const sources = otherTextsOf(results)
  const branchOf = branchColumn(results)
  const rows = results.cells.map(({ arm, seed, rate, share, record }): Row => {
    const settings = Object.fromEntries(fields.map((field) => [field, cellValue(results.arms[arm]?.[field])]))
    const run = record?.status === 'finished' ? record : null
    return {
      arm,
      seed,
      rate,
      ...branchOf(share),
      learning_rate: record?.config.train.schedule.learningRate ?? null,
      steps: record?.status === 'finished' ? (record.train.step.at(-1) ?? null) : null,
      status: record?.status ?? 'missing',
      error: record?.status === 'failed' ? record.error : null,
      ...settings,
      ...figuresOf(run),
      ...Object.fromEntries(sources.map((source) => [`held_out_loss ${source}`, run?.elsewhere[source]?.loss ?? null])),
    }
  })
  return bytesOf(results, rows, new Set(fields))
}

/**
 * The bytes of curves.parquet. A row has the training loss, a mean over up to a hundredth of the steps that ends with
 * the step of the row, and the held-out loss of an evaluation during training, on the first held-out batches at the
 * capacity of the study. The loss on all held-out text after the last step is in results.parquet.
 */
export function curvesParquetOf(results: StudyResults): Uint8Array {
  const branchOf = branchColumn(results)
  const rows = results.cells.flatMap(({ arm, seed, rate, share, record }): Row[] => {
    if (record?.status !== 'finished') return []
    const { train, evaluations } = atCapacity(record, results.capacity)
    const trained = new Map(train.step.map((step, i) => [step, train.loss[i] ?? null]))
    const heldOut = new Map(evaluations.map(({ step, loss }) => [step, loss]))
    const steps = [...new Set([...trained.keys(), ...heldOut.keys()])].sort((a, b) => a - b)
    return steps.map((step) => ({
      arm,
      seed,
      rate,
      ...branchOf(share),
      step,
      train_loss: trained.get(step) ?? null,
      held_out_loss: heldOut.get(step) ?? null,
    }))
  })
  return bytesOf(results, rows)
}

/** Makes the column `branch` of a row, or no column if the study has no branches. */
function branchColumn({ cells }: StudyResults): (share: number | undefined) => Row {
  const hasBranches = cells.some(({ share }) => share !== undefined)
  return (share = 1) => (hasBranches ? { branch: share } : {})
}

/** @param settings Columns whose type follows from their values. */
function bytesOf(results: StudyResults, rows: readonly Row[], settings: ReadonlySet<string> = new Set()): Uint8Array {
  const columns = Object.keys(rows[0] ?? { arm: '' })
  const buffer = parquetWriteBuffer({
    columnData: columns.map((name) => {
      const data = rows.map((row) => row[name] ?? null)
      const isWhole = wholeColumns.has(name) || (settings.has(name) && data.every(isWholeOrNull))
      return columnOf(name, data, isWhole)
    }),
    kvMetadata: [
      { key: 'study', value: results.name },
      { key: 'command', value: results.command },
    ],
  })
  return new Uint8Array(buffer)
}

const isWholeOrNull = (value: Value): boolean => value === null || Number.isSafeInteger(value)

const figuresOf = (run: FinishedRun | null): Row => ({
  held_out_loss: run?.heldOut.loss ?? null,
  ...Object.fromEntries(
    (['train', 'eval', 'none'] as const).flatMap((rule): [string, Value][] => {
      const evaluation = run?.heldOut.capacities[rule]
      return [
        [`held_out_loss_capacity_${rule}`, evaluation?.loss ?? null],
        [`drop_rate_capacity_${rule}`, evaluation?.drop_rate ?? null],
        [`unserved_rate_capacity_${rule}`, evaluation?.unserved_rate ?? null],
      ]
    }),
  ),
  leak_capacity_train: run?.leak.train ?? null,
  leak_capacity_eval: run?.leak.eval ?? null,
  bits_per_byte: run?.heldOut.bits_per_byte ?? null,
  held_out_drop_rate: run?.heldOut.drop_rate ?? null,
  held_out_unserved_rate: run?.heldOut.unserved_rate ?? null,
  evaluated_tokens: run?.heldOut.evaluated_tokens ?? null,
  parameters: run?.parameters ?? null,
  active_parameters: run?.activeParameters ?? null,
  tokens: run?.tokens ?? null,
  train_flops: run?.trainFlops ?? null,
  train_seconds: run?.seconds ?? null,
  load_cv: run?.routing.loadCv ?? null,
  load_cv_kept: run?.routing.loadCvKept ?? null,
  drop_rate: run?.routing.dropRate ?? null,
  dead_experts: run?.routing.deadExperts ?? null,
  gate_mean: meanOverLayers(run, 'gate'),
  entropy_share: meanOverLayers(run, 'entropyShare'),
  corpus: run?.corpus ?? null,
  engine: run?.engine ?? null,
  machine: run?.machine ?? null,
  program: run?.program ?? null,
})

const meanOverLayers = (run: FinishedRun | null, of: 'gate' | 'entropyShare'): number | null =>
  mean(run ? decisivenessOf(run).flatMap((layer) => layer[of] ?? []) : [])

const cellValue = (value: unknown): Value =>
  typeof value === 'number' || typeof value === 'string' ? value : value === undefined ? null : JSON.stringify(value)

/** A column of whole numbers or of other numbers if all values are numbers, otherwise of strings. */
function columnOf(name: string, data: readonly Value[], isWhole: boolean) {
  const numeric =
    data.every((value) => value === null || typeof value === 'number') && data.some((value) => value !== null)
  if (numeric && isWhole)
    return {
      name,
      data: data.map((value) => (value === null ? null : BigInt(value))),
      type: 'INT64' as const,
      nullable: true,
    }
  return numeric
    ? { name, data: [...data], type: 'DOUBLE' as const, nullable: true }
    : {
        name,
        data: data.map((value) => (value === null ? null : String(value))),
        type: 'STRING' as const,
        nullable: true,
      }
}
