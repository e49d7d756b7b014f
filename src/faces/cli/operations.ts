/**
 * Everything that commands call on the floors below, as one object that tests replace by a fake. A module is imported
 * at the first call of its function, so `choir --help` does not load ONNX Runtime.
 */
import type { RunConfig } from '../../core/config/run-config.ts'
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { SharedError } from '../../train/run/agreement.ts'
import type { NamedItem } from '../../use/infer/scoring/scorable.ts'
import type { GeneratedEnd, GenerateOptions } from '../../use/runs/generate.ts'
import type { ScoredItem, ScoreRunOptions } from '../../use/runs/score.ts'
import { stateMemory } from './state-memory.ts'

type Loaded<F> = F extends (...args: infer Args) => infer Result ? (...args: Args) => Promise<Awaited<Result>> : never

/** A function of a module, which is imported when the function is first called. */
const imported = <Module, Name extends keyof Module>(load: () => Promise<Module>, name: Name): Loaded<Module[Name]> =>
  (async (...args: unknown[]) => {
    const call = (await load())[name] as (...args: unknown[]) => unknown
    return call(...args)
  }) as Loaded<Module[Name]>

export type Operations = typeof operations
export type Description = Awaited<ReturnType<Operations['describe']>>
export type SignalCheck = Awaited<ReturnType<Operations['signal']>>

export const operations = {
  train: imported(() => import('../../node/train/train.ts'), 'train'),
  joinRanks: imported(() => import('../../node/train/ranks.ts'), 'joinRanks'),
  threadsPerRank: imported(() => import('../../node/train/ranks.ts'), 'threadsPerRank'),
  refuseDifferences: imported(() => import('../../train/run/agreement.ts'), 'refuseDifferences'),
  async sharedError(error: unknown): Promise<SharedError | undefined> {
    return (await import('../../train/run/agreement.ts')).sharedError(error)
  },
  async fromFirst<T>(ranks: Ranks | null, work: () => Promise<T>): Promise<T> {
    return ranks ? (await import('../../train/run/agreement.ts')).fromFirst(ranks, work) : work()
  },
  evaluateRun: imported(() => import('../../use/runs/evaluate.ts'), 'evaluateRun'),
  async *generate(directory: string, options: GenerateOptions): AsyncGenerator<string, GeneratedEnd> {
    const { generate } = await import('../../use/runs/generate.ts')
    return yield* generate(directory, options)
  },
  async *score(
    directory: string,
    items: AsyncIterable<NamedItem>,
    options: ScoreRunOptions,
  ): AsyncGenerator<ScoredItem, void> {
    const { scoreRun } = await import('../../use/runs/score.ts')
    yield* scoreRun(directory, items, options)
  },
  recordRoutes: imported(() => import('../../tools/routes/record-routes.ts'), 'recordRun'),
  writeAtlas: imported(() => import('../../tools/routes/atlas/atlas.ts'), 'writeAtlas'),
  writeResponses: imported(() => import('../../node/routes/write-responses.ts'), 'writeResponses'),
  compareRoutes: imported(() => import('../../tools/routes/compare.ts'), 'compareRoutes'),
  exportRun: imported(() => import('../../use/interchange/export/export.ts'), 'exportRun'),
  importModel: imported(() => import('../../use/interchange/import/import-model.ts'), 'importModel'),
  /** Size and cost of a model, and the memory of its training state. */
  async describe(config: RunConfig) {
    const { describeModel } = await import('../../core/model/describe.ts')
    const { parameters, activeParameters, flopsPerToken, tensors } = describeModel(config.model)
    const isOwn = config.train.optimizer.kind === 'own'
    const own = isOwn ? (await import('../../train/step/optimizer/own-rule.ts')).stateNumbers(config) : 0
    const memory = stateMemory(config.train, tensors, own)
    return { parameters, activeParameters, flopsPerToken, memory, tensors }
  },
  /** Measures activations and gradients of an untrained model, layer by layer, and lists problems that they show. */
  async signal(config: RunConfig) {
    const { measureSignal, signalProblems } = await import('../../node/measure/signal.ts')
    const signal = await measureSignal(config)
    return { ...signal, problems: signalProblems(signal) }
  },
  checkPlugin: imported(() => import('../../tools/check/check-file.ts'), 'checkPluginFile'),
  benchmark: imported(() => import('../../node/measure/benchmark.ts'), 'benchmark'),
  measureMachine: imported(() => import('../../node/measure/machine.ts'), 'measureMachine'),
  foreignLibraries: imported(() => import('../../node/system/foreign-libraries.ts'), 'foreignLibraries'),
  deleteLibraries: imported(() => import('../../node/system/foreign-libraries.ts'), 'deleteLibraries'),
  listDevices: imported(() => import('../../engine/dawn/node-device.ts'), 'listDevices'),
  study: imported(() => import('../../tools/study/shown/study.ts'), 'study'),
  estimateStudy: imported(() => import('../../tools/study/estimate/estimate.ts'), 'estimateStudy'),
  writeStudyReport: imported(() => import('../../tools/study/shown/study.ts'), 'writeStudyReport'),
  simulate: imported(() => import('../../tools/plan/local/simulation.ts'), 'simulate'),
  plan: imported(() => import('../../tools/plan/plan.ts'), 'plan'),
  planTimeline: imported(() => import('../../tools/plan/timeline.ts'), 'planTimeline'),
  planLocal: imported(() => import('../../tools/plan/local/plan-local.ts'), 'planLocal'),
  whatIf: imported(() => import('../../tools/plan/what-if.ts'), 'whatIf'),
  writePlanReport: imported(() => import('../../tools/plan/report.ts'), 'writePlanReport'),
  loadLaw: imported(() => import('../../tools/plan/worth/load-law.ts'), 'loadLaw'),
  worth: imported(() => import('../../tools/plan/worth/worth.ts'), 'worth'),
  watch: imported(() => import('../watch/http/server.ts'), 'startWatch'),
  share: imported(() => import('../watch/share/share.ts'), 'shareRun'),
  serve: imported(() => import('../serve/server.ts'), 'startServe'),
  play: imported(() => import('../watch/http/server.ts'), 'startPlay'),
}
