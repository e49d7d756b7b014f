/**
 * Everything that commands call on the floors below, as one object that tests replace by a fake. A module is imported
 * at the first call of its function, so `choir --help` does not load ONNX Runtime.
 */
import type { RunConfig } from '../config/run-config.ts'
import type { GeneratedEnd, GenerateOptions } from '../infer/generate.ts'
import type { SharedError } from '../run/agreement.ts'
import type { Ranks } from '../runtime/ranks.ts'
import { stateMemory } from './state-memory.ts'

type Loaded<F> = F extends (...args: infer Args) => infer Result ? (...args: Args) => Promise<Awaited<Result>> : never

/** An exported function of a module that is imported at its first call. */
const imported = <Module, Name extends keyof Module>(load: () => Promise<Module>, name: Name): Loaded<Module[Name]> =>
  (async (...args: unknown[]) => {
    const call = (await load())[name] as (...args: unknown[]) => unknown
    return call(...args)
  }) as Loaded<Module[Name]>

export type Operations = typeof operations
export type Description = Awaited<ReturnType<Operations['describe']>>
export type SignalCheck = Awaited<ReturnType<Operations['signal']>>

export const operations = {
  train: imported(() => import('../train/train.ts'), 'train'),
  joinRanks: imported(() => import('../train/ranks.ts'), 'joinRanks'),
  threadsPerRank: imported(() => import('../train/ranks.ts'), 'threadsPerRank'),
  refuseDifferences: imported(() => import('../run/agreement.ts'), 'refuseDifferences'),
  async sharedError(error: unknown): Promise<SharedError | undefined> {
    return (await import('../run/agreement.ts')).sharedError(error)
  },
  async fromFirst<T>(ranks: Ranks | null, work: () => Promise<T>): Promise<T> {
    return ranks ? (await import('../run/agreement.ts')).fromFirst(ranks, work) : work()
  },
  evaluateRun: imported(() => import('../infer/evaluate.ts'), 'evaluateRun'),
  async *generate(directory: string, options: GenerateOptions): AsyncGenerator<string, GeneratedEnd> {
    const { generate } = await import('../infer/generate.ts')
    return yield* generate(directory, options)
  },
  exportRun: imported(() => import('../exchange/export/export.ts'), 'exportRun'),
  importModel: imported(() => import('../exchange/import/import-model.ts'), 'importModel'),
  /** Size and cost of a model, and the memory of its training state. */
  async describe(config: RunConfig) {
    const { describeModel } = await import('../model/describe.ts')
    const { parameters, activeParameters, flopsPerToken, tensors } = describeModel(config.model)
    const memory = stateMemory(config.train, tensors)
    return { parameters, activeParameters, flopsPerToken, memory, tensors }
  },
  /** Measures activations and gradients of an untrained model, layer by layer, and finds what is not sound. */
  async signal(config: RunConfig) {
    const { measureSignal, signalProblems } = await import('../measure/signal.ts')
    const signal = await measureSignal(config)
    return { ...signal, problems: signalProblems(signal) }
  },
  createCorpus: imported(() => import('../corpus/create.ts'), 'createCorpus'),
  listRecipes: imported(() => import('../corpus/catalogue.ts'), 'listRecipes'),
  benchmark: imported(() => import('../measure/benchmark.ts'), 'benchmark'),
  measureMachine: imported(() => import('../measure/machine.ts'), 'measureMachine'),
  foreignLibraries: imported(() => import('../system/foreign-libraries.ts'), 'foreignLibraries'),
  deleteLibraries: imported(() => import('../system/foreign-libraries.ts'), 'deleteLibraries'),
  listDevices: imported(() => import('../runtime/webgpu/node.ts'), 'listDevices'),
  study: imported(() => import('../study/study.ts'), 'study'),
  writeStudyReport: imported(() => import('../study/study.ts'), 'writeStudyReport'),
  simulate: imported(() => import('../plan/simulation.ts'), 'simulate'),
  plan: imported(() => import('../plan/plan.ts'), 'plan'),
  planLocal: imported(() => import('../plan/local/plan-local.ts'), 'planLocal'),
  whatIf: imported(() => import('../plan/search/what-if.ts'), 'whatIf'),
  writePlanReport: imported(() => import('../plan/report.ts'), 'writePlanReport'),
  validatePlanner: imported(() => import('../plan/validate.ts'), 'validate'),
  loadLaw: imported(() => import('../plan/worth/load-law.ts'), 'loadLaw'),
  worth: imported(() => import('../plan/worth/worth.ts'), 'worth'),
  watch: imported(() => import('../watch/http/server.ts'), 'startWatch'),
  play: imported(() => import('../watch/http/play.ts'), 'startPlay'),
}
