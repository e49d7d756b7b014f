/** Predicts memory and speed of Choir itself on this machine (`--cluster local`). */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { option, UsageError, wording } from '../../../core/errors.ts'
import { type Engine, engineOf } from '../../../engine/contract/engine.ts'
import { openCache } from '../../../node/data/cache.ts'
import { trainingMemory } from '../../../node/measure/training-memory.ts'
import { openRuntime } from '../../../node/run/session.ts'
import { replaceFile } from '../../../node/system/disk.ts'
import { describeProcessor } from '../../../node/system/processor.ts'
import { memoryKinds, noBytes, total } from '../cost/memory.ts'
import type { Prediction } from '../cost/predict.ts'
import { balanced, budgetOf, type Plan, planWith } from '../plan.ts'
import { balancedLoads } from '../work/load.ts'
import { type Calibration, calibrate } from './calibration.ts'
import { localRun } from './local-run.ts'

export interface LocalOptions {
  /** Whether to calibrate even if this machine has been calibrated. */
  readonly recalibrate?: boolean
  readonly onMessage?: (message: string) => void
}

/**
 * Predicts a run, after a calibration if there is none for this machine and engine.
 * @throws UsageError for a run on a GPU, since the plan of this machine is for its processor
 */
export async function planLocal(config: RunConfig, options: LocalOptions = {}): Promise<Plan> {
  if (config.runtime.device !== 'cpu')
    throw new UsageError(
      wording`invalid runtime.device: "${config.runtime.device}" (expected "cpu" with ${option('cluster', 'local')}: no calibration describes a GPU)`,
    )
  const calibration = await calibrationOf(config, options)
  const { cluster, engine } = calibration
  const run = localRun(config)
  const plan = planWith(run, cluster, balancedLoads(run.model), `${balanced}; ${engine}`)
  const predicted = [...plan.best, ...plan.rejected.map(({ prediction }) => prediction)][0]
  if (!predicted) return plan
  const best = await withMemory(config, calibration, predicted)
  const lacking = best.memory.deviceBytes - cluster.device.memory
  return {
    ...plan,
    best: lacking > 0 ? [] : [best],
    pareto: lacking > 0 ? [] : [best],
    rejected: lacking > 0 ? [{ prediction: best, lackingBytes: lacking }] : [],
    fits: lacking <= 0,
    fitting: lacking > 0 ? 0 : 1,
    changes: [],
    budget: lacking > 0 ? undefined : budgetOf(run, cluster, best),
  }
}

/** Replaces predicted memory by the memory of the compiled program, if the runtime plans its memory. */
async function withMemory(config: RunConfig, { baseBytes }: Calibration, predicted: Prediction): Promise<Prediction> {
  const { stateBytes, programBytes } = await trainingMemory(config)
  const { device } = predicted.memory
  const { weights, gradients, optimizer } = device
  const activations = memoryKinds.filter((kind) => /activations|logits/.test(kind))
  const programOrActivations =
    programBytes === undefined
      ? Object.fromEntries(activations.map((kind) => [kind, device[kind]]))
      : { program: programBytes }
  const memory = {
    ...noBytes(),
    weights,
    gradients,
    optimizer,
    ...programOrActivations,
    // Scratch memory of embedding gradients, and the padding of tensors to cache lines.
    communication: Math.max(0, stateBytes - (weights + gradients + optimizer)),
    reserved: baseBytes,
  }
  return { ...predicted, memory: { device: memory, deviceBytes: total(memory), hostBytes: 0 } }
}

/** The calibration of this machine for the engine of a run. It is measured if none is stored. */
export async function calibrationOf(
  config: RunConfig,
  { recalibrate: again, onMessage: log = () => {} }: LocalOptions,
): Promise<Calibration> {
  const { provider, math, threads } = await localEngine(config)
  const key = createHash('sha256')
    .update(JSON.stringify([describeProcessor(), cpus().length, provider, math, threads, FORMAT]))
    .digest('hex')
    .slice(0, 16)
  const cache = await openCache(undefined, log)
  try {
    const file = join(cache.root, `calibration-${key}.json`)
    const cached = again ? undefined : await readCalibration(file)
    if (cached) return cached
    const calibration = await calibrate(config, log)
    await replaceFile(file, JSON.stringify(calibration, null, 2))
    return calibration
  } finally {
    await cache.close()
  }
}

async function localEngine(config: RunConfig): Promise<Engine> {
  const runtime = await openRuntime(config)
  try {
    return engineOf(runtime)
  } finally {
    await runtime.close()
  }
}

/** Version of stored calibrations: increase it when their meaning changes. */
const FORMAT = 6

async function readCalibration(file: string): Promise<Calibration | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Calibration
  } catch {
    return undefined
  }
}
