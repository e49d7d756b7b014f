/** `--cluster local`: what Choir itself needs on this machine, and how fast it is. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { RunConfig } from '../../config/run-config.ts'
import { openCache } from '../../data/cache.ts'
import { trainingMemory } from '../../measure/training-memory.ts'
import { openRuntime } from '../../run/session.ts'
import { type Engine, engineOf } from '../../runtime/engine.ts'
import { replaceFile } from '../../system/disk.ts'
import { memoryKinds, total } from '../cost/memory.ts'
import type { Prediction } from '../cost/predict.ts'
import { type Plan, planWith } from '../plan.ts'
import { type Calibration, calibrate } from './calibration.ts'
import { localLoads, localRun } from './local-run.ts'

export interface LocalOptions {
  /** Measure again, although this machine is known. */
  readonly again?: boolean
  readonly say?: (message: string) => void
}

/** Calibrates unless that was done before, and predicts. */
export async function planLocal(config: RunConfig, options: LocalOptions = {}): Promise<Plan> {
  const calibration = await calibrationOf(config, options)
  const { cluster, kernels, engine } = calibration
  const run = localRun(config, kernels)
  const plan = planWith(run, cluster, localLoads(run), `all experts alike; ${engine}`)
  const known = [...plan.best, ...plan.rejected.map(({ prediction }) => prediction)][0]
  if (!known) return plan
  const best = await withMemory(config, calibration, known)
  const lacking = best.memory.deviceBytes - cluster.device.memory
  return {
    ...plan,
    best: lacking > 0 ? [] : [best],
    pareto: lacking > 0 ? [] : [best],
    rejected: lacking > 0 ? [{ prediction: best, lackingBytes: lacking }] : [],
    fitting: lacking > 0 ? 0 : 1,
    changes: [],
  }
}

/** Memory as it is laid out: known from the compiled program where the runtime plans it. */
async function withMemory(config: RunConfig, { baseBytes }: Calibration, known: Prediction): Promise<Prediction> {
  const { stateBytes, programBytes } = await trainingMemory(config)
  const { device } = known.memory
  const state = device.weights + device.gradients + device.optimizer
  const activations = memoryKinds.filter((kind) => /activations|logits/.test(kind))
  const none = Object.fromEntries(memoryKinds.map((kind) => [kind, 0])) as typeof device
  const kept =
    programBytes === undefined
      ? Object.fromEntries(activations.map((kind) => [kind, device[kind]]))
      : { program: programBytes }
  const laidOut = {
    ...none,
    weights: device.weights,
    gradients: device.gradients,
    optimizer: device.optimizer,
    ...kept,
    // Scratch memory beside the tables, and the lines that tensors are filled up to.
    communication: Math.max(0, stateBytes - state),
    reserved: baseBytes,
  }
  return { ...known, memory: { device: laidOut, deviceBytes: total(laidOut), hostBytes: 0 } }
}

async function calibrationOf(config: RunConfig, { again = false, say = () => {} }: LocalOptions): Promise<Calibration> {
  const { provider, math, threads } = await engineHere(config)
  const key = createHash('sha256')
    .update(JSON.stringify([cpus()[0]?.model, cpus().length, provider, math, threads, FORMAT]))
    .digest('hex')
    .slice(0, 16)
  const cache = await openCache(undefined, say)
  try {
    const file = join(cache.root, `calibration-${key}.json`)
    const known = again ? undefined : await readCalibration(file)
    if (known) return known
    const made = await calibrate(config, say)
    await replaceFile(file, JSON.stringify(made, null, 2))
    return made
  } finally {
    await cache.close()
  }
}

async function engineHere(config: RunConfig): Promise<Engine> {
  const runtime = await openRuntime(config)
  try {
    return engineOf(runtime)
  } finally {
    await runtime.close()
  }
}

/** Changes when calibrations mean something else. */
const FORMAT = 5

async function readCalibration(file: string): Promise<Calibration | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Calibration
  } catch {
    return undefined
  }
}
