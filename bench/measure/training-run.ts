/**
 * Trains one run with `choir train` and reads its loss curve from the run directory. A finished run is not repeated;
 * an interrupted one is continued.
 */
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RunError } from '../../src/core/errors.ts'
import type { Engine } from '../../src/engine/contract/engine.ts'
import type { EvalRecord, TrainRecord } from '../../src/train/step/metrics/records.ts'
import { checkEngine, choirLines, type EngineChoice } from '../support/choir.ts'
import { readJson, writeJson } from '../support/results.ts'
import type { Curve } from './loss-curves.ts'

export interface TrainingRun extends EngineChoice {
  readonly name: string
  readonly preset: string
  readonly steps: number
  readonly seed: number
}

/** Trains into a folder under `out`, unless a finished run is there. */
export async function train(run: TrainingRun, out: string): Promise<Curve> {
  const directory = join(out, run.name)
  const finished = await curveOf(run, directory)
  if (finished) {
    process.stderr.write(`  ${run.name}: already done\n`)
    return finished
  }
  const startedAt = performance.now()
  process.stderr.write(`  ${run.name} ...`)
  for await (const line of choirLines([...(await trainArguments(run, directory)), '--json'], run.engine)) {
    const { kind } = line as { kind: string }
    if (kind !== 'start') continue
    const { provider, math, threads } = line as unknown as Engine
    checkEngine({ provider, math, threads }, run)
    await writeJson(enginesFile(directory), { provider, math, threads })
  }
  process.stderr.write(` ${((performance.now() - startedAt) / 1000).toFixed(0)} s\n`)
  const curve = await curveOf(run, directory)
  if (!curve) throw new RunError(`the run in ${directory} has no line for each of its ${run.steps} steps`)
  return curve
}

const enginesFile = (directory: string): string => `${directory}.engines.json`

/** Arguments that continue the run from its newest checkpoint, or start it. */
async function trainArguments(run: TrainingRun, directory: string): Promise<string[]> {
  if ((await namesIn(join(directory, 'checkpoints'))).some((name) => name.startsWith('step-')))
    return ['train', '--resume', directory]
  await rm(directory, { recursive: true, force: true })
  const { preset, steps, seed, math, threads } = run
  const settings = {
    'train.steps': steps,
    'train.seed': seed,
    'train.evalEvery': steps,
    'train.evalBatches': 0,
    'train.checkpointEvery': Math.ceil(steps / 5),
    'runtime.math': math,
    'runtime.threads': threads,
  }
  const sets = Object.entries(settings).flatMap(([field, value]) => ['--set', `${field}=${value}`])
  return ['train', preset, ...sets, '--no-sample', '--out', directory]
}

/** The loss curve of a finished run, otherwise undefined. */
async function curveOf(
  { name, engine, math, seed, steps }: TrainingRun,
  directory: string,
): Promise<Curve | undefined> {
  const engines = await readJson<Engine>(enginesFile(directory))
  const lines = await metricsOf(directory)
  const trainRecords = lines.filter((line): line is TrainRecord => line.kind === 'train')
  const evaluation = lines.findLast((line): line is EvalRecord => line.kind === 'eval' && line.step === steps)
  const parameters = await checksumsOf(directory, steps)
  if (!engines || !evaluation || !parameters || trainRecords.length !== steps) return undefined
  return {
    name,
    engine,
    math,
    seed,
    provider: engines.provider,
    loss: trainRecords.map(({ loss }) => loss),
    heldOutLoss: evaluation.loss,
    bitsPerByte: evaluation.bits_per_byte,
    parameters,
  }
}

async function metricsOf(directory: string): Promise<(TrainRecord | EvalRecord)[]> {
  const text = await readFile(join(directory, 'metrics.jsonl'), 'utf8').catch(() => '')
  // The last line of an interrupted run may be incomplete.
  return text
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as TrainRecord | EvalRecord)
}

/** Checksums of the parameter files after the last step; undefined if that checkpoint does not exist. */
async function checksumsOf(directory: string, steps: number): Promise<string | undefined> {
  const file = join(directory, 'checkpoints', `step-${String(steps).padStart(8, '0')}`, 'SHA256SUMS')
  const text = await readFile(file, 'utf8').catch(() => undefined)
  return text
    ?.split('\n')
    .filter((line) => line.includes('model'))
    .map((line) => line.split(' ')[0])
    .join(' ')
}

const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])
