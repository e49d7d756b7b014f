/**
 * What this machine is as a device of the planner. Measured: products of some shapes, the rate of memory, and the
 * steps of a few small trainings. From them follow the constants of the same model that plans clusters: pads and
 * fill of products from the products, and from the trainings what a kernel costs to start, what share of the
 * memory's rate passes and the optimizer reach, and what share of the peak attention reaches.
 */
import { cpus, totalmem } from 'node:os'
import type { RunConfig } from '../../train/config.ts'
import { checked } from '../../train/config-problems.ts'
import { measureBandwidth, measureProduct, openRuntime, TrainingBench } from '../../train/index.ts'
import { loadConfig } from '../../train/load-config.ts'
import { median } from '../../train/statistics.ts'
import { createStore } from '../../train/trainer.ts'
import { type Cluster, clusterSchema, type Device } from '../cluster.ts'
import { productSeconds } from '../device-time.ts'
import { Predictor } from '../predict.ts'
import { descend, logError } from './fit.ts'
import { localLayout, localLoads, localRun } from './local-run.ts'

export interface Calibration {
  /** What computed, e.g. `oneDNN 3.7.2, float32, 2 threads`. */
  readonly engine: string
  readonly cluster: Cluster
  /** Whether the kernels of the runtime are there: then all rows of experts are computed as they come. */
  readonly kernels: boolean
  /** Peak memory of a process that trains, without its model. */
  readonly baseBytes: number
  /** Mean error of the fits: products, trainings. */
  readonly errors: { readonly products: number; readonly trainings: number }
}

/** From small to large; wide, tall and deep; several at once. */
const products = [
  { count: 1, m: 128, n: 128, k: 128 },
  { count: 1, m: 512, n: 256, k: 256 },
  { count: 1, m: 1024, n: 128, k: 384 },
  { count: 1, m: 1024, n: 1024, k: 256 },
  { count: 1, m: 256, n: 1024, k: 2048 },
  { count: 1, m: 4096, n: 512, k: 256 },
  { count: 1, m: 2048, n: 2048, k: 512 },
  { count: 1, m: 4096, n: 512, k: 2048 },
  { count: 1, m: 2048, n: 2048, k: 2048 },
  { count: 8, m: 128, n: 256, k: 128 },
  { count: 16, m: 256, n: 1024, k: 256 },
  { count: 16, m: 256, n: 256, k: 1024 },
  { count: 16, m: 64, n: 1024, k: 256 },
  { count: 32, m: 32, n: 2048, k: 512 },
] as const

/** Small models that differ in what they spend their time on; each with what it sets. */
const trainings: readonly (readonly [preset: string, ...sets: string[]])[] = [
  ['tiny', 'train.batch=8'],
  ['demo', 'model.layers=2'],
  ['demo', 'model.moe=null', 'model.layers=3', 'model.width=192', 'model.hidden=768', 'model.heads=6'],
  ['S', 'model.layers=1', 'train.batch=2', 'model.moe.experts=32'],
  ['S', 'model.layers=2', 'model.moe.experts=8', 'model.moe.k=2', 'train.batch=4', 'model.vocabulary=2048'],
]
const STEPS = { warmUp: 3, timed: 9 }
const ROUNDS = 4

/** Takes about half a minute; the machine should have nothing else to do. */
export async function calibrate(config: RunConfig, say: (message: string) => void = () => {}): Promise<Calibration> {
  const { runtime: settings } = config
  const trained = (preset: string, sets: readonly string[]) =>
    loadConfig(preset, [
      ...sets,
      `runtime.math=${settings.math}`,
      ...(settings.threads === undefined ? [] : [`runtime.threads=${settings.threads}`]),
    ])
  // The smallest training comes first: what the process holds then, beside that model, every training holds.
  const observed: { config: RunConfig; seconds: number }[] = []
  let baseBytes = 0
  for (const [preset, ...sets] of trainings) {
    const training = await trained(preset, sets)
    say(`training ${[preset, ...sets].join(' ')}`)
    const { seconds, ownBytes } = await timed(training)
    if (observed.length === 0) baseBytes = process.resourceUsage().maxRSS * 1024 - ownBytes
    observed.push({ config: training, seconds })
  }

  say('measuring products and memory')
  const runtime = await openRuntime(config)
  const { threads, math, provider, kernels } = runtime
  const measured: MeasuredProduct[] = products.map((shape) => ({ shape, seconds: Number.POSITIVE_INFINITY }))
  let bandwidth = 0
  try {
    // In rounds, since a machine has slow moments that last longer than a few runs of one product.
    for (let round = 0; round < ROUNDS; round++) {
      for (const product of measured)
        product.seconds = Math.min(product.seconds, await measureProduct(runtime, product.shape))
      bandwidth = Math.max(bandwidth, await measureBandwidth(runtime))
    }
  } finally {
    await runtime.close()
  }
  const hasKernels = kernels.names.size > 0
  const device = fitProducts(measured, bandwidth)
  const fitted = fitTrainings(clusterOf(device), observed, hasKernels)
  return {
    engine: `${provider}, ${math}, ${threads} thread${threads === 1 ? '' : 's'}`,
    cluster: fitted.cluster,
    kernels: hasKernels,
    baseBytes,
    errors: {
      products: Math.sqrt(productError(device, measured)),
      trainings: fitted.error,
    },
  }
}

/** Seconds of a step, and what the model itself takes of the memory. */
async function timed(config: RunConfig): Promise<{ seconds: number; ownBytes: number }> {
  const bench = await TrainingBench.open(config)
  try {
    await bench.run(STEPS.warmUp)
    const seconds = median((await bench.run(STEPS.timed)).map(({ ms }) => ms)) / 1000
    return { seconds, ownBytes: createStore(config).byteLength + (bench.programBytes ?? 0) }
  } finally {
    await bench.close()
  }
}

/** Products of this machine are those of one precision: it goes by the name of float32. */
function deviceWith(peak: number, bandwidth: number, over: Partial<Device> = {}): Device {
  return {
    name: cpus()[0]?.model ?? 'this machine',
    memory: totalmem(),
    reserved: 1,
    bandwidth,
    peak: { float32: peak },
    matmul: { efficiency: 1, padM: 8, padN: 8, padK: 8, fill: 1000 },
    bandwidthEfficiency: 1,
    updateEfficiency: 1,
    attentionEfficiency: 0.5,
    kernel: 1e-5,
    ...over,
  }
}

interface MeasuredProduct {
  readonly shape: (typeof products)[number]
  seconds: number
}

const productError = (device: Device, measured: readonly MeasuredProduct[]): number =>
  logError(measured.map(({ shape, seconds }) => [productSeconds(device, 'float32', shape, 4), seconds]))

function fitProducts(measured: readonly MeasuredProduct[], bandwidth: number): Device {
  const best = Math.max(...measured.map(({ shape: { count, m, n, k }, seconds }) => (2 * count * m * n * k) / seconds))
  const device = ([rate = 1, padM = 1, padN = 1, padK = 1, fill = 1, kernel = 1e-6]: readonly number[]): Device =>
    deviceWith(best * rate, bandwidth, { matmul: { efficiency: 1, padM, padN, padK, fill }, kernel })
  const limits = [1.3, 512, 512, 512, 1e6, 1e-3]
  return device(descend([1, 8, 8, 8, 1000, 1e-5], limits, (values) => productError(device(values), measured)))
}

const clusterOf = (device: Device): Cluster => ({
  ...checked(
    clusterSchema,
    {
      name: 'local',
      devices: 1,
      devicesPerNode: 1,
      device: { memory: '1 B', bandwidth: '1 B/s', peak: { float32: '1 FLOP/s' } },
      // Nothing passes a link between one device.
      links: { node: { bandwidth: '1 B/s' }, network: { bandwidth: '1 B/s' } },
    },
    'cluster',
  ),
  device,
})

/** What products alone do not show: starting kernels, passes, attention. */
function fitTrainings(cluster: Cluster, observed: readonly { config: RunConfig; seconds: number }[], kernels: boolean) {
  const withConstants = (values: readonly number[]): Cluster => {
    const [kernel = 0, bandwidthEfficiency = 1, attentionEfficiency = 1, updateEfficiency = 1] = values
    const { device } = cluster
    return { ...cluster, device: { ...device, kernel, bandwidthEfficiency, attentionEfficiency, updateEfficiency } }
  }
  const pairs = (constants: Cluster) =>
    observed.map(({ config, seconds }): [number, number] => {
      const run = localRun(config, kernels)
      return [new Predictor(run, constants, localLoads(run)).predict(localLayout(run)).time.stepSeconds, seconds]
    })
  const values = descend([cluster.device.kernel, 0.7, 0.4, 0.7], [1e-3, 1, 1, 1], (constants) =>
    logError(pairs(withConstants(constants))),
  )
  const fitted = withConstants(values)
  const errors = pairs(fitted).map(([predicted, seconds]) => Math.abs(predicted / seconds - 1))
  return { cluster: fitted, error: errors.reduce((a, b) => a + b, 0) / errors.length }
}
