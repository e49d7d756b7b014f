/** A fake `Io`: streams that keep their text, and operations that return prepared results. */
import { Readable, Writable } from 'node:stream'
import type { StepEvent } from '../../../engine/contract/times.ts'
import type { Machine } from '../../../node/measure/machine.ts'
import type { RoutesHeader } from '../../../node/routes/format.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { planLocal } from '../../../tools/plan/local/plan-local.ts'
import { simulate } from '../../../tools/plan/local/simulation.ts'
import { plan } from '../../../tools/plan/plan.ts'
import { writePlanReport } from '../../../tools/plan/report.ts'
import { planTimeline } from '../../../tools/plan/timeline.ts'
import { whatIf } from '../../../tools/plan/what-if.ts'
import { loadLaw } from '../../../tools/plan/worth/load-law.ts'
import { worth } from '../../../tools/plan/worth/worth.ts'
import type { Atlas } from '../../../tools/routes/atlas/contract.ts'
import type { EstimateOptions, StudyEstimate } from '../../../tools/study/estimate/estimate.ts'
import type { StudyEvent } from '../../../tools/study/events.ts'
import type { StudyOutcome } from '../../../tools/study/shown/study.ts'
import type { RanksSummary, TrainEvent, TrainSummary } from '../../../train/loop/events.ts'
import type { CeilingReport } from '../../../train/measure/mfu.ts'
import type { StepProfile } from '../../../train/measure/step-profile.ts'
import type { EvalRecord, TrainRecord } from '../../../train/step/metrics/records.ts'
import type { Scorable } from '../../../use/infer/scoring/scorable.ts'
import type { Score } from '../../../use/infer/scoring/score.ts'
import type { ImportReport } from '../../../use/interchange/import/report.ts'
import type { SharedRun } from '../../watch/share/shared-run.ts'
import type { Io, Job } from '../io.ts'
import type { Operations } from '../operations.ts'
import { main } from '../program/main.ts'

export class MemoryStream extends Writable {
  text = ''
  readonly isTTY: boolean
  columns: number

  constructor({ isTTY = false, columns = 80 } = {}) {
    super()
    this.isTTY = isTTY
    this.columns = columns
  }

  /** Changes the width of the terminal, as its user does. */
  resize(columns: number): void {
    this.columns = columns
    this.emit('resize')
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }
}

const engine = { provider: 'oneDNN 3.7.2', math: 'float32' as const, threads: 2 }
export const withoutDnnl = { provider: 'ONNX Runtime alone (libdnnl is not installed)' }
const ceilings = { peakFlops: 3e11, bandwidth: 2e10 }

/** Two steps of 10 ms: 6 ms of products at half the ceiling, 2 ms at the memory ceiling, 1 ms of other operators. */
export const stepProfile: StepProfile = {
  ...engine,
  ...ceilings,
  steps: 2,
  microseconds: 20_000,
  nodes: [
    ...[0, 1].map((layer) => ({
      kind: 'matmul',
      provider: 'oneDNN' as const,
      op: "matmul'",
      layer: `layers.${layer}.attention`,
      runs: 4,
      microseconds: 6000,
      flops: 9e8,
      bytes: 1e6,
    })),
    {
      kind: 'adamw',
      provider: 'WASM',
      op: 'update',
      layer: 'optimizer',
      runs: 2,
      microseconds: 4000,
      flops: 1e6,
      bytes: 8e7,
    },
    { kind: 'Reshape', provider: 'ONNX Runtime', op: '', layer: '', runs: 6, microseconds: 2000 },
  ],
}

/** A millisecond of JavaScript around a kernel on two threads. */
const stepTrace: readonly StepEvent[] = [
  { thread: 1, name: 'matmul', op: "matmul'", layer: 'layers.0.attention', begin: 1e12 + 0.25, end: 1e12 + 0.5 },
  { thread: 0, name: 'matmul', op: "matmul'", layer: 'layers.0.attention', begin: 1e12 + 0.25, end: 1e12 + 0.75 },
  { thread: -1, name: 'JavaScript', op: 'program', layer: '', begin: 1e12, end: 1e12 + 0.9375 },
  { thread: -1, name: 'JavaScript', op: 'gradient', layer: '', begin: 1e12, end: 1e12 + 1 },
]

function trainRecord(step: number): TrainRecord {
  return {
    kind: 'train',
    step,
    tokens: step * 128,
    loss: 6 - step / 10,
    aux_loss: 1.1,
    z_loss: 2,
    learning_rate: 1e-3,
    grad_norm: 0.7,
    tokens_per_second: 12_345,
    step_ms: 10.4,
    mfu: 0.613,
    drop_rate: 0.031,
    unserved_rate: 0.02,
    load_cv: 0.42,
    load_cv_kept: 0.3,
    dead_experts: 0,
    gate_mean: 0.55,
    gate_entropy: 1.1,
    entropy_share: 0.79,
  }
}

function evalRecord(step: number): EvalRecord {
  return {
    kind: 'eval',
    step,
    tokens: step * 128,
    loss: 4.5123,
    bits_per_byte: 1.7123,
    aux_loss: 1.1,
    z_loss: 2,
    drop_rate: 0.012,
    unserved_rate: 0.01,
    load_cv: 0.41,
    load_cv_kept: 0.4,
    dead_experts: 3,
    gate_mean: 0.5,
    gate_entropy: 1.2,
    entropy_share: 0.87,
    evaluated_tokens: 118_000,
    capacity: 'eval',
    capacities: {
      train: { loss: 4.5371, bits_per_byte: 1.7217, drop_rate: 0.034, unserved_rate: 0.021 },
      eval: { loss: 4.5123, bits_per_byte: 1.7123, drop_rate: 0.012, unserved_rate: 0.01 },
      none: { loss: 4.5012, bits_per_byte: 1.7081, drop_rate: 0, unserved_rate: 0 },
    },
  }
}

/** Two tokens, of which the first has nothing before it. */
function fakeScore(item: Scorable): Score {
  const tokens = [
    { id: 7, text: 'a', logProbability: null },
    { id: 8, text: '\n', logProbability: -1.5 },
  ]
  const score = { tokens, total: -1.5, mean: -1.5, bitsPerByte: 1.0820212806667227, isGreedy: true }
  if (typeof item !== 'string' && 'choices' in item)
    return { choices: item.choices.map(() => score), best: { total: 0, mean: 0, perByte: 1 } }
  const { isGreedy: _, ...ofText } = score
  return typeof item !== 'string' && 'continuation' in item ? score : ofText
}

const decidedRouters: TrainSummary['gates'] = [
  { layer: 0, gateMean: 0.5, entropyShare: 0.95 },
  { layer: 1, gateMean: 0.6, entropyShare: 0.63 },
]

export interface Call {
  readonly name: string
  readonly args: readonly unknown[]
}

export interface Fake {
  readonly io: Io
  readonly stdout: MemoryStream
  readonly stderr: MemoryStream
  readonly calls: Call[]
  readonly exits: number[]
  /** Presses Ctrl-C. */
  interrupt(): void
  breakPipe(): void
  /** Time that `now` returns, milliseconds. */
  clock: number
}

const quietCeiling: CeilingReport = { peakFlops: 3e11, lowestPeakFlops: 2.9e11, peakIsLowerBound: false }

interface Settings {
  readonly terminal?: boolean
  readonly columns?: number
  readonly env?: Io['env']
  readonly operations?: Partial<Operations>
  /** Result of `measureMachine`, also in child processes unless they run with `CHOIR_DNNL=off`. */
  readonly machine?: Partial<Machine>
  /** The matmul rate that trainings and benchmarks report; default: two measurements on a quiet machine. */
  readonly ceiling?: CeilingReport
  readonly stdin?: string | Buffer
  /** The ranks in the summary of a training; default: a training of one process. */
  readonly ranks?: RanksSummary
  /** Gates of the layers after the last step; default: decided routers of two layers. */
  readonly gates?: TrainSummary['gates']
  /** Exit code and output of another program; default: it is not installed. */
  readonly runProgram?: (words: readonly string[]) => { readonly code: number | null; readonly text: string }
  /** Starts a fake job, which has an end and takes signals. Default: a job that succeeds. */
  readonly startJob?: (words: readonly string[], fake: Fake) => Job
  readonly isRoot?: boolean
  /** Message of the error with which `startSelf` fails. */
  readonly startSelfError?: string
  /** Called after each fake step. */
  readonly onStep?: (step: number, fake: Fake) => void
}

const importReport = (folder: string, directory: string): ImportReport => ({
  kind: 'import',
  folder,
  directory,
  architecture: 'mixtral',
  parameters: 1_200_000,
  bytes: { read: 2_400_000, written: 4_800_000 },
  storedAs: ['F32'],
  begin: null,
  end: [
    { id: 151_645, token: '<|im_end|>' },
    { id: 151_643, token: '<|endoftext|>' },
  ],
  chatTemplate: true,
  notices: [],
  ignoredKeys: ['use_sinks'],
  ignoredTensors: [],
  tensors: [0, 1].map((e) => ({
    name: `model.layers.0.block_sparse_moe.experts.${e}.w1.weight`,
    dtype: 'BF16',
    shape: [64, 32],
    ours: [`layers.0.moe.experts.${e}.gate`],
  })),
  made: [],
})

function studyOutcome(directory: string, interrupted: boolean): StudyOutcome {
  const file = (name: string) => `${directory}/${name}`
  const files = { html: file('report.html'), markdown: file('report.md') }
  const data = { results: file('results.json.gz'), parquet: file('results.parquet'), curves: file('curves.parquet') }
  return {
    interrupted,
    finished: 1,
    failed: 1,
    runs: 2,
    files: { ...files, ...data },
    answers: { findings: [] },
    predictions: [],
    others: [],
  }
}

/** An estimate of 81 minutes for the first two of four seeds, which a shorter budget has no room for. */
function studyEstimate({ jobs, threads, budget: seconds }: EstimateOptions): StudyEstimate {
  const needed = 4860
  const fits = (seconds ?? needed) >= needed
  return {
    arms: [
      {
        ...{ arm: 'top-1', settings: { 'model.moe.k': 1 }, parameters: 4_123_456, activeParameters: 1_500_000 },
        ...{ flopsPerToken: 1.53e7, steps: 300, stepSeconds: 0.0123, runSeconds: 1200, runs: 2 },
        warnings: ['no bf16 here'],
      },
    ],
    ...{ seeds: 2, runs: 2, finished: 1, jobs, threads },
    seconds: { training: 4200, evaluation: 480, starting: 0.01, timing: 120, total: 4800 },
    possible: { runs: 3, seconds: 60 },
    bytes: { peak: 3.2e8, kept: 4e7 },
    notes: ['evaluations take 60 % of the time'],
    budget:
      seconds === undefined ? null : { seconds, seeds: fits ? 2 : null, of: 4, needed, stepsShare: fits ? null : 0.4 },
  }
}

const routesHeader: RoutesHeader = {
  kind: 'routes',
  format: 1,
  program: 'choir 0.1.0',
  model: {
    ...{ directory: 'runs/x', step: 20, weights: 'float32', config: {} },
    engine: { provider: 'oneDNN 3.7.2', math: 'float32', threads: 2 },
  },
  tokenizer: { vocabulary: 300, sha256: 'ab12' },
  text: { source: 'a.txt', hash: 'cd34', documents: 3, tokens: 1500 },
  capacity: 'none',
  loss: 4.5,
  routers: [
    { layer: 0, module: 'ffn', experts: 8, prototypes: 1, choices: 2, capacity: null },
    { layer: 1, module: 'ffn', experts: 8, prototypes: 1, choices: 2, capacity: null },
  ],
  tokens: 1000,
  file: 'routes.jsonl',
  documents: [{ document: 0, name: 'a.txt', domain: 'other', tokens: 1000 }],
}

/** An atlas of the record, whose first layer has a dead expert, and whose second layer has duplicates. */
const atlas: Atlas = {
  kind: 'atlas',
  format: 1,
  record: { model: routesHeader.model, text: routesHeader.text, capacity: 'none', loss: 4.5 },
  ...{ tokens: 1000, documents: 20, groups: 20, confidence: 0.95 },
  domains: [{ name: 'songs', documents: 20, tokens: 1000 }],
  routers: [0, 1].map((layer) => ({
    ...{ layer, module: 'ffn', experts: 8, prototypes: 1, choices: 2 },
    ...{ load_cv: 0.41, max_over_mean: 1.9, drop_rate: 0.031, entropy: 1.04, entropy_share: 0.5, token_share: 0.62 },
    dead: layer === 0 ? [5] : [],
    duplicates: layer === 1 ? [{ experts: [2, 6], jaccard: 0.97 }] : [],
    domain_load_cv: [0.41],
    of: [
      {
        ...{ expert: 3, tokens: 250, share: 0.25, interval: [0.2, 0.3], load: 1, drop_rate: 0, gate_mean: 0.4 },
        token_share: 0.8,
        top: [
          { token: 7, text: ' of', tokens: 40, share: 0.9, lift: 3.6, interval: [3.1, 3.9] },
          { token: 8, text: ' to', tokens: 9, share: 0.4, lift: 1.6, interval: [0.9, 2.2] },
        ],
        domains: [{ name: 'songs', tokens: 250, share: 0.25, lift: 1, interval: [1, 1] }],
        partners: [{ expert: 4, tokens: 100, lift: 2.1, interval: [1.8, 2.4] }],
      },
    ],
  })),
}

/** A run whose page has one of its three moments, and a text at one checkpoint. */
const sharedRun: SharedRun = {
  version: 1,
  name: 'demo',
  state: 'finished',
  note: null,
  step: 240,
  steps: 240,
  facts: [['Model', '2 layers, 32 wide']],
  index: { routers: [{ layer: 0, module: 'ffn', experts: 4, prototypes: 1 }], experts: 4, steps: [10, 240], of: 24 },
  loads: '',
  dropRates: [[0, 0.1]],
  moments: [
    {
      ...{ kind: 'overload', step: 84, router: 0, experts: [1], text: 'Expert 1 of layer 0 takes twice its share' },
      detail: 'up to 3.6 times, at step 160, and until the end',
    },
  ],
  found: 3,
  rules: ['A moment lasts.'],
  heldOut: { step: [240], loss: [4.5] },
  heldOutPart: null,
  sentence: {
    title: 'a',
    tokens: ['some', ' words'],
    routers: [{ layer: 0, module: 'ffn', experts: 4, prototypes: 1, choices: 1 }],
    traces: [{ step: 120, loss: 4, experts: [[1, 3]] }],
    failed: [],
  },
}

/** A fake whose `train` runs steps of a second each, evaluates every 10 steps, and stops when its signal is aborted. */
export function fakeIo(settings: Settings = {}): Fake {
  const { terminal = false, columns = 80, env = {} } = settings
  const interruptHandlers = new Set<() => void>()
  const pipeHandlers = new Set<() => void>()
  const stdout = new MemoryStream({ isTTY: terminal, columns })
  const stderr = new MemoryStream({ isTTY: terminal, columns })
  const calls: Call[] = []
  const exits: number[] = []

  const operations: Operations = {
    checkPlugin: async () => ({
      part: 'router',
      id: 'mine@0123456789abcdef',
      checks: [
        { name: 'gradients agree with finite differences', passed: true, found: '12 elements' },
        { name: 'every choice is kept once or dropped', passed: false, found: '14 of 15 choices' },
      ],
      time: { over: 'top-k', ratio: 1.25 },
      warning: 'cannot keep the router',
    }),
    foreignLibraries: async () => [{ package: 'webgpu', paths: ['dist/win32-x64'], bytes: 3e7 }],
    deleteLibraries: async (libraries) => {
      calls.push({ name: 'deleteLibraries', args: [libraries] })
    },
    listDevices: async () => ({
      gpus: [
        {
          name: 'GeForce',
          vendor: 'nvidia',
          architecture: 'ada',
          description: 'NVIDIA 555.1',
          software: false,
          maxBufferBytes: 2 ** 32,
          maxBindingBytes: 2 ** 31,
          f16: true,
          subgroups: true,
          timestamps: false,
        },
      ],
      problem: null,
    }),
    joinRanks: async () => null,
    threadsPerRank: async () => 1,
    fromFirst: async (_, work) => work(),
    refuseDifferences: async () => {},
    sharedError: async () => undefined,
    async train(config, options) {
      calls.push({ name: 'train', args: [config, options] })
      const emit = (event: TrainEvent) => options.onEvent?.(event)
      const { steps } = config.train
      emit({ kind: 'prepare', message: 'training a tokenizer' })
      emit({
        kind: 'start',
        directory: options.directory,
        steps,
        fromStep: 0,
        parameters: 4_123_456,
        activeParameters: 1_500_000,
        trainTokens: 2_310_000,
        heldOutTokens: 118_000,
        ...(options.compareWithGzip && { gzipBitsPerByte: 2.5 }),
        peakFlops: 3e11,
        ...engine,
      })
      let step = 0
      while (step < steps && !options.signal?.aborted) {
        step++
        fake.clock += 1000
        emit(trainRecord(step))
        if (step % 10 === 0) emit(evalRecord(step))
        settings.onStep?.(step, fake)
        await Promise.resolve()
      }
      emit({ kind: 'checkpoint', step, path: `${options.directory}/checkpoints/step-${step}` })
      const summary: TrainSummary = {
        directory: options.directory,
        interrupted: step < steps,
        step,
        tokens: step * 128,
        seconds: step,
        tokensPerSecond: step > 0 ? 12_345 : null,
        mfu: step > 0 ? 0.613 : null,
        ceiling: settings.ceiling ?? quietCeiling,
        last: step > 0 ? trainRecord(step) : null,
        evaluation: step > 0 ? evalRecord(step) : null,
        gates: step > 0 && config.model.moe ? (settings.gates ?? decidedRouters) : [],
        ranks: settings.ranks ?? null,
      }
      if (!options.profile) return summary
      return { ...summary, profile: stepProfile, trace: stepTrace }
    },
    async evaluateRun(directory, options = {}) {
      calls.push({ name: 'evaluateRun', args: [directory, options] })
      options.onMessage?.({ kind: 'prepare', message: 'reading the text' })
      if (options.math === 'bf16') options.onMessage?.({ kind: 'notice', message: 'no bf16 here' })
      const record = evalRecord(20)
      const capacity = options.capacity ?? 'none'
      return { ...record, ...record.capacities[capacity], capacity }
    },
    async importModel(folder, directory, options = {}) {
      calls.push({ name: 'importModel', args: [folder, directory, options] })
      return importReport(folder, directory)
    },
    async exportRun(directory, options) {
      calls.push({ name: 'exportRun', args: [directory, options] })
      options.onMessage?.({ kind: 'prepare', message: 'writing 2 files' })
      return {
        kind: 'export',
        format: options.format,
        dtype: options.dtype ?? 'float32',
        out: options.out ?? `${directory}/export/${options.format}`,
        step: 20,
        architecture: 'OlmoeForCausalLM',
        reason: 'it has norms of queries and keys',
        files: [{ name: 'config.json', bytes: 900 }],
        parameters: 4_123_456,
        active_parameters: 1_500_000,
        logits: { reader: 'a reader', tokens: 32, largest_difference: 1.25e-6, largest_logit: 8.5 },
        held_out: { tokens: 118_000, dropless: 4.5, as_trained: { train: 4.5371, eval: 4.5123 } },
      }
    },
    async recordRoutes(directory, options) {
      calls.push({ name: 'recordRoutes', args: [directory, options] })
      options.onMessage?.({ kind: 'prepare', message: 'reading the text' })
      if (options.math === 'bf16') options.onMessage?.({ kind: 'notice', message: 'no bf16 here' })
      return routesHeader
    },
    async writeResponses(folder, file) {
      calls.push({ name: 'writeResponses', args: [folder, file] })
      return 3
    },
    async compareRoutes(first, second, options = {}) {
      calls.push({ name: 'compareRoutes', args: [first, second, options] })
      return {
        ...{ kind: 'comparison', tokens: 1000, only_first: 0, only_second: 1, same: 0.995 },
        routers: [
          { layer: 0, module: 'ffn', same: 0.99, interval: [0.98, 0.997], common: 0.9951, gate_difference: 0.0123 },
          { layer: 1, module: 'ffn', same: 1, interval: null, common: 1, gate_difference: 1e-6 },
        ],
      }
    },
    async writeAtlas(folder, options = {}) {
      calls.push({ name: 'writeAtlas', args: [folder, options] })
      options.onMessage?.({ kind: 'prepare', message: 'counted 5 of 10 tokens' })
      return atlas
    },
    async *score(directory, items, options) {
      calls.push({ name: 'score', args: [directory, options] })
      options.onMessage?.({ kind: 'notice', message: 'no bf16 here' })
      for await (const { item } of items) yield { item, score: fakeScore(item) }
    },
    async *generate(directory, options) {
      calls.push({ name: 'generate', args: [directory, options] })
      options.onMessage?.({ kind: 'warning', message: 'skipping checkpoint 40' })
      yield ' of the'
      yield ' United States'
      return { reason: 'length', tokens: 4, seconds: 0.5, step: 20 }
    },
    async signal(config) {
      calls.push({ name: 'signal', args: [config] })
      const at = (depth: number, tokenShare: number) => ({ depth, activation: 1, gradient: 0.01, tokenShare })
      return {
        stream: [at(0, 1), at(1, 0.25)],
        loss: 6.3,
        uniformLoss: 6.238,
        problems: ['the token explains 25 % of the last hidden state'],
      }
    },
    async describe(config) {
      calls.push({ name: 'describe', args: [config] })
      return {
        parameters: 1_000_000,
        activeParameters: 250_000,
        flopsPerToken: 1.53e7,
        memory: [
          { name: 'parameters', bytes: 4e6 },
          { name: 'gradients', bytes: 4e6 },
        ],
        tensors: [
          { name: 'embedding', shape: [512, 32], parameters: 16_384 },
          { name: 'layers.0.moe.in', shape: [4, 32, 64], parameters: 8192 },
          { name: 'layers.1.moe.in', shape: [4, 32, 64], parameters: 8192 },
        ],
      }
    },
    async benchmark(config, options) {
      calls.push({ name: 'benchmark', args: [config, options] })
      return {
        ...engine,
        ...(settings.ceiling ?? quietCeiling),
        parameters: 18_000_000,
        activeParameters: 3_000_000,
        tokensPerSecond: 6000,
        flopsPerStep: 1e11,
        stepMs: 674,
        gradientMs: 600,
        updateMs: 74,
        mfu: 0.55,
        dropRate: 0.02,
        peakBytes: 1.5e9,
        ...(config.runtime.math === 'bf16' && { notice: 'no bf16 here' }),
        ...(options.profile && { profile: stepProfile, trace: stepTrace }),
      }
    },
    async study(specification, options) {
      calls.push({ name: 'study', args: [specification, options] })
      const emit = (event: StudyEvent) => options.onEvent?.(event)
      const { jobs, threads } = options
      const run = { arm: 'top-1', seed: 1, rate: 'common' } as const
      emit({ kind: 'prepare', message: 'reading sotu' })
      const none = { finished: 0, trials: 0, finishedTrials: 0 }
      emit({ kind: 'study', arms: 1, seeds: 2, branches: 1, runs: 2, ...none, jobs, threads })
      emit({ kind: 'phase', phase: 'runs', runs: 2, finished: 0, flopsLeft: 2e12 })
      emit({ kind: 'begin', ...run, flops: 1e12 })
      emit({ kind: 'progress', ...run, step: 10, steps: 20, loss: 4.5, activity: 'training', secondsLeft: 120 })
      fake.clock += 60_000
      const failed = {
        status: 'failed',
        key: 'a',
        seed: 1,
        config: await loadConfig('tiny', []),
        error: 'no luck',
      } as const
      emit({ kind: 'end', ...run, record: failed, loss: null, finished: 1, runs: 2, flopsLeft: 1e12, secondsLeft: 60 })
      return studyOutcome(options.directory, options.signal?.aborted ?? false)
    },
    async estimateStudy(specification, options) {
      calls.push({ name: 'estimateStudy', args: [specification, options] })
      options.onEvent?.({ kind: 'prepare', message: 'measuring the first steps of 1 model' })
      return options.signal?.aborted ? null : studyEstimate(options)
    },
    async writeStudyReport(specification, options) {
      calls.push({ name: 'writeStudyReport', args: [specification, options] })
      return studyOutcome(options.directory, false)
    },
    simulate: (...args) => simulate(...args),
    plan: (run, cluster) => plan(run, cluster),
    planTimeline: (...args) => planTimeline(...args),
    planLocal: (...args) => planLocal(...args),
    whatIf: (...args) => whatIf(...args),
    writePlanReport: (...args) => writePlanReport(...args),
    loadLaw: (...args) => loadLaw(...args),
    worth: (...args) => worth(...args),
    async watch(options) {
      calls.push({ name: 'watch', args: [options] })
      return { address: 'http://127.0.0.1:6007/', close: async () => void calls.push({ name: 'close', args: [] }) }
    },
    async share(directory, { signal: _, onMessage, ...options } = {}) {
      calls.push({ name: 'share', args: [directory, options] })
      onMessage?.({ kind: 'prepare', message: 'routing a text with checkpoint 1 of 1, step 20' })
      return { file: options.out ?? 'demo.html', bytes: 195_000, run: sharedRun }
    },
    async play(options) {
      calls.push({ name: 'play', args: [options] })
      return { address: 'http://127.0.0.1:6007/', close: async () => void calls.push({ name: 'close', args: [] }) }
    },
    async serve(options) {
      calls.push({ name: 'serve', args: [options] })
      return {
        address: 'http://127.0.0.1:8000/v1',
        models: options.models.map((directory) => ({ id: 'demo', directory, step: 20 })),
        close: async () => void calls.push({ name: 'close', args: [] }),
      }
    },
    async measureMachine(config) {
      calls.push({ name: 'measureMachine', args: [config] })
      return { ...engine, ...ceilings, ...settings.machine }
    },
    ...settings.operations,
  }

  const fake: Fake = {
    stdout,
    stderr,
    calls,
    exits,
    clock: 0,
    interrupt: () => {
      for (const handler of interruptHandlers) handler()
    },
    breakPipe: () => {
      for (const handler of pipeHandlers) handler()
    },
    io: {
      stdin: Object.assign(Readable.from([settings.stdin ?? '']), { isTTY: settings.terminal ?? false }),
      stdout,
      stderr,
      env,
      operations,
      self: 'choir',
      program: ['/usr/bin/node', '/opt/choir/bin/choir.js'],
      folder: '/home/me',
      isRoot: settings.isRoot ?? false,
      now: () => fake.clock,
      onInterrupt: (handler) => {
        interruptHandlers.add(handler)
        return () => interruptHandlers.delete(handler)
      },
      onBrokenPipe: (handler) => {
        pipeHandlers.add(handler)
        return () => pipeHandlers.delete(handler)
      },
      exit: (code) => exits.push(code),
      startSelf: async (args) => {
        calls.push({ name: 'startSelf', args })
        if (settings.startSelfError !== undefined) throw new Error(settings.startSelfError)
        const line = JSON.stringify({ kind: 'watch', address: 'http://127.0.0.1:6007/' })
        return { line, stop: async () => void calls.push({ name: 'stop', args: [] }) }
      },
      runProgram: async (words) => settings.runProgram?.(words) ?? { code: null, text: '' },
      startJob: (words, env) => {
        calls.push({ name: 'startJob', args: [words, env] })
        return settings.startJob?.(words, fake) ?? { ended: Promise.resolve({ code: 0, text: '' }), signal: () => {} }
      },
      sleep: async (milliseconds) => void calls.push({ name: 'sleep', args: [milliseconds] }),
      openBrowser: (address) => calls.push({ name: 'openBrowser', args: [address] }),
      runSelf: async (args, env = {}) => {
        calls.push({ name: 'runSelf', args: [args, env] })
        const alone = env.CHOIR_DNNL === 'off'
        const machine = alone ? { ...withoutDnnl, peakFlops: 2e11 } : settings.machine
        const other = fakeIo({ ...settings, env: { ...settings.env, ...env }, ...(machine && { machine }) })
        if ((await main(args, other.io)) !== 0) throw new Error(other.stderr.text)
        return other.stdout.text
      },
    },
  }
  return fake
}
