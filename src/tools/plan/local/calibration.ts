/**
 * Describes this machine as a device of the planner. A calibration measures products of some shapes, the memory
 * bandwidth, and the profiled steps of a few small trainings. The constants of the planner's model are fitted to them,
 * each to the part of a step that it describes: pads and fill to products, alone and in trainings; the rate of
 * attention to attention; the rate of the update to the update; the cost of a kernel and the share of the bandwidth
 * that passes reach to everything else.
 */
import { cpus, totalmem } from 'node:os'
import { median } from '../../../core/averages.ts'
import { parseInput } from '../../../core/config/problems.ts'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { TrainingBench } from '../../../node/measure/benchmark.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { openRuntime } from '../../../node/run/session.ts'
import { measureBandwidth } from '../../../train/measure/bandwidth.ts'
import { measureProduct } from '../../../train/measure/peak.ts'
import { productSeconds } from '../cost/device-time.ts'
import { type Cluster, clusterSchema, type Device } from '../inputs/cluster.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import { descend, logError } from './fit.ts'
import { localRun } from './local-run.ts'
import { predictedWork, recordedWork, type StepWork } from './step-work.ts'

export interface Calibration {
  /** Engine that was measured, such as `oneDNN 3.7.2, float32, 2 threads`. */
  readonly engine: string
  readonly cluster: Cluster
  /** Peak memory of a training process without its model. */
  readonly baseBytes: number
  /** Mean absolute errors of the fits: for single products, and for each part of a training as a share of the step. */
  readonly errors: { readonly shapes: number } & Readonly<Record<keyof StepWork, number>>
}

/** Shapes of measured products: from small to large; wide, tall and deep; alone and several at once. */
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

type Sets = readonly [preset: string, ...sets: string[]]

const smallest: Sets = ['tiny', 'train.batch=8']
/** Small trainings that spend their time on different things. */
const trainings: readonly Sets[] = [
  smallest,
  ['demo', 'model.layers=2'],
  ['demo', 'model.moe=null', 'model.layers=3', 'model.width=192', 'model.hidden=768', 'model.heads=6'],
  ['demo', 'model.layers=1', 'model.sequence=1024', 'train.batch=2'],
  ['S', 'model.layers=1', 'train.batch=2', 'model.moe.experts=32'],
  ['S', 'model.layers=1', 'train.batch=8'],
  ['S', 'model.layers=2', 'model.moe.experts=8', 'model.moe.k=2', 'train.batch=4', 'model.vocabulary=2048'],
]
const STEPS = { warmUp: 6, timed: 8 }
/** Numbers of rounds. Everything is measured in rounds, since a machine can be slow for longer than a few steps. */
const ROUNDS = { trainings: 2, products: 4 }

/** Calibrates this machine. That takes about a minute, in which the machine should have nothing else to do. */
export async function calibrate(config: RunConfig, log: (message: string) => void = () => {}): Promise<Calibration> {
  const { runtime: settings } = config
  const loadTraining = (...[preset, ...sets]: Sets) =>
    loadConfig(preset, [
      ...sets,
      `runtime.math=${settings.math}`,
      ...(settings.threads === undefined ? [] : [`runtime.threads=${settings.threads}`]),
    ])
  const baseBytes = await baseMemory(await loadTraining(...smallest))
  const recordings: { readonly config: RunConfig; readonly rounds: StepWork[] }[] = []
  for (let round = 0; round < ROUNDS.trainings; round++)
    for (const [at, sets] of trainings.entries()) {
      const training = await loadTraining(...sets)
      log(`training ${sets.join(' ')}, ${round + 1} of ${ROUNDS.trainings}`)
      const work = await recordStep(training)
      if (round === 0) recordings.push({ config: training, rounds: [work] })
      else recordings[at]?.rounds.push(work)
    }

  log('measuring products and memory')
  const runtime = await openRuntime(config)
  const { threads, math, provider } = runtime
  const measured: MeasuredProduct[] = products.map((shape) => ({ shape, seconds: Number.POSITIVE_INFINITY }))
  let bandwidth = 0
  try {
    for (let round = 0; round < ROUNDS.products; round++) {
      for (const product of measured)
        product.seconds = Math.min(product.seconds, await measureProduct(runtime, product.shape))
      bandwidth = Math.max(bandwidth, await measureBandwidth(runtime))
    }
  } finally {
    await runtime.close()
  }
  const observed = recordings.map(({ config, rounds }) => ({
    run: localRun(config),
    work: eachKind((kind) => median(rounds.map((work) => work[kind]))),
  }))
  const cluster = fitCluster(measured, bandwidth, observed)
  return {
    engine: `${provider}, ${math}, ${threads} thread${threads === 1 ? '' : 's'}`,
    cluster,
    baseBytes,
    errors: errorsOf(cluster, measured, observed),
  }
}

const eachKind = <T>(value: (kind: keyof StepWork) => T): Record<keyof StepWork, T> => ({
  products: value('products'),
  attention: value('attention'),
  passes: value('passes'),
  update: value('update'),
})

/** Peak memory of a training process without its model. It must be called before any other training of the process. */
async function baseMemory(config: RunConfig): Promise<number> {
  const bench = await TrainingBench.open(config)
  try {
    await bench.run(STEPS.warmUp)
    const own = bench.stateBytes + (bench.programBytes ?? 0)
    return process.resourceUsage().maxRSS * 1024 - own
  } finally {
    await bench.close()
  }
}

async function recordStep(config: RunConfig): Promise<StepWork> {
  const bench = await TrainingBench.open(config, true)
  try {
    await bench.run(STEPS.warmUp)
    bench.resetProfile()
    await bench.run(STEPS.timed)
    return recordedWork((await bench.recorded()).profile)
  } finally {
    await bench.close()
  }
}

interface MeasuredProduct {
  readonly shape: (typeof products)[number]
  seconds: number
}

interface ObservedTraining {
  readonly run: PlannedRun
  readonly work: StepWork
}

/** A device with defaults that `over` replaces. The engine has one precision of products, here called float32. */
function deviceWith(peak: number, bandwidth: number, over: Partial<Device> = {}): Device {
  return {
    name: cpus()[0]?.model ?? 'this machine',
    memory: totalmem(),
    reserved: 1,
    bandwidth,
    peak: { float32: peak },
    matmul: { efficiency: 1, padM: 8, padN: 8, padK: 8, fill: 1000, float8: 1 },
    bandwidthEfficiency: 1,
    updateEfficiency: 1,
    attentionEfficiency: 0.5,
    attentionQuery: 0,
    attentionPad: 0,
    kernel: 1e-5,
    launch: 0,
    constants: 'measured',
    ...over,
  }
}

const clusterOf = (device: Device): Cluster => ({
  ...parseInput(
    clusterSchema,
    {
      name: 'local',
      devices: 1,
      devicesPerNode: 1,
      device: { memory: '1 B', bandwidth: '1 B/s', peak: { float32: '1 FLOP/s' } },
      // A single device uses no links.
      links: { node: { bandwidth: '1 B/s' }, network: { bandwidth: '1 B/s' } },
    },
    'cluster',
  ),
  device,
})

type Pair = readonly [predicted: number, measured: number]

const productPairs = (device: Device, measured: readonly MeasuredProduct[]): Pair[] =>
  measured.map(({ shape, seconds }) => [productSeconds(device, 'float32', shape, 4), seconds])

/** Signed errors in one part of each training, as shares of the training's step. */
const shareErrors = (device: Device, observed: readonly ObservedTraining[], kind: keyof StepWork): number[] =>
  observed.map(({ run, work }) => (predictedWork(run, clusterOf(device))[kind] - work[kind]) / stepOf(work))

const stepOf = ({ products, attention, passes, update }: StepWork): number => products + attention + passes + update

const meanSquare = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value ** 2, 0) / values.length

/** Fits the constants one part at a time. Passes come first, since products start kernels too. */
function fitCluster(
  measured: readonly MeasuredProduct[],
  bandwidth: number,
  observed: readonly ObservedTraining[],
): Cluster {
  const peak = Math.max(...measured.map(({ shape: { count, m, n, k }, seconds }) => (2 * count * m * n * k) / seconds))
  const fitDevice = (
    start: readonly number[],
    limits: readonly number[],
    device: (values: readonly number[]) => Device,
    loss: (device: Device) => number,
  ) => device(descend(start, limits, (values) => loss(device(values))))
  const lossOf = (kind: keyof StepWork) => (device: Device) => meanSquare(shareErrors(device, observed, kind))

  const withPasses = fitDevice(
    [1e-5, 0.7],
    [1e-3, 1],
    ([kernel = 0, bandwidthEfficiency = 1]) => deviceWith(peak, bandwidth, { kernel, bandwidthEfficiency }),
    lossOf('passes'),
  )
  const withProducts = fitDevice(
    [1, 8, 8, 8, 1000],
    [1.3, 512, 512, 512, 1e6],
    ([rate = 1, padM = 1, padN = 1, padK = 1, fill = 1]) => ({
      ...withPasses,
      peak: { float32: peak * rate },
      matmul: { efficiency: 1, padM, padN, padK, fill, float8: 1 },
    }),
    // A single product finds its factors in the cache, so products in trainings get more weight.
    (device) => logError(productPairs(device, measured)) / 10 + lossOf('products')(device),
  )
  const withAttention = fitDevice(
    [0.5, 1e-7],
    [1, 1e-4],
    ([attentionEfficiency = 1, attentionQuery = 0]) => ({ ...withProducts, attentionEfficiency, attentionQuery }),
    lossOf('attention'),
  )
  return clusterOf(
    fitDevice([0.7], [1], ([updateEfficiency = 1]) => ({ ...withAttention, updateEfficiency }), lossOf('update')),
  )
}

function errorsOf(
  { device }: Cluster,
  measured: readonly MeasuredProduct[],
  observed: readonly ObservedTraining[],
): Calibration['errors'] {
  const mean = (errors: readonly number[]) =>
    errors.reduce((sum, error) => sum + Math.abs(error), 0) / Math.max(1, errors.length)
  return {
    shapes: mean(productPairs(device, measured).map(([predicted, seconds]) => predicted / seconds - 1)),
    ...eachKind((kind) => mean(shareErrors(device, observed, kind))),
  }
}
