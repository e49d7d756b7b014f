/**
 * All that the command line asks of the floors below, as one object: tests put a fake in its place,
 * and `choir --help` need not load ONNX Runtime, since each part is imported when first called.
 */

import type { Cluster, LocalOptions, Plan, PlannedRun, PlanReport, Validation, WhatIf } from '../plan/index.ts'
import type { Specification, StudyOptions, StudyOutcome } from '../study/index.ts'
import type { RunConfig } from '../train/config.ts'
import type {
  BenchmarkOptions,
  BenchmarkResult,
  EvalRecord,
  EvaluateOptions,
  GenerateOptions,
  Machine,
  TrainOptions,
  TrainSummary,
} from '../train/index.ts'
import type { Signal } from '../train/signal.ts'
import type { WatchOptions, WatchServer } from '../watch/server.ts'
import { stateMemory } from './memory.ts'

/** What `inspect` shows of a model. */
export interface Description {
  readonly parameters: number
  readonly activeParameters: number
  /** Forward and backward. */
  readonly flopsPerToken: number
  /** What is kept from step to step. */
  readonly memory: readonly { readonly name: string; readonly bytes: number }[]
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly parameters: number }[]
}

export interface SignalCheck extends Signal {
  /** In what way the start is not sound; empty when it is. */
  readonly problems: readonly string[]
}

export interface Engine {
  train(config: RunConfig, options: TrainOptions): Promise<TrainSummary>
  evaluateRun(directory: string, options: EvaluateOptions): Promise<EvalRecord>
  generate(directory: string, options: GenerateOptions): AsyncIterable<string>
  describe(config: RunConfig): Promise<Description>
  /** The signal check of an untrained model. */
  signal(config: RunConfig): Promise<SignalCheck>
  /** Trains on random tokens in memory; writes nothing. */
  benchmark(config: RunConfig, options: BenchmarkOptions): Promise<BenchmarkResult>
  /** Runs what a study lacks, and writes its report. */
  study(specification: Specification, options: StudyOptions): Promise<StudyOutcome>
  /** Writes the report of what there is. */
  report(specification: Specification, options: StudyOptions): Promise<StudyOutcome>
  /** Lays a run out on a cluster. */
  plan(run: PlannedRun, cluster: Cluster): Promise<Plan>
  /** What a run needs on this machine; measures the machine when it is not known. */
  planLocal(config: RunConfig, options: LocalOptions): Promise<Plan>
  /** The same with one thing varied. */
  whatIf(source: string, sets: readonly string[], cluster: Cluster, question: string): Promise<WhatIf>
  writePlanReport(file: string, report: PlanReport): Promise<void>
  /** Predictions beside what was published. */
  validatePlanner(): Promise<Validation>
  /** Serves the dashboard. */
  watch(options: WatchOptions): Promise<WatchServer>
  /** What computes, and the machine's ceilings. */
  measureMachine(config: RunConfig): Promise<Machine>
}

export const engine: Engine = {
  async train(config, options) {
    const { train } = await import('../train/index.ts')
    return train(config, options)
  },
  async evaluateRun(directory, options) {
    const { evaluateRun } = await import('../train/index.ts')
    return evaluateRun(directory, options)
  },
  async *generate(directory, options) {
    const { generate } = await import('../train/index.ts')
    yield* generate(directory, options)
  },
  async describe(config) {
    const { describeModel } = await import('../model/describe.ts')
    const { parameters, activeParameters, flopsPerToken, tensors } = describeModel(config.model)
    const memory = stateMemory(config.train.optimizer.kind, tensors)
    return { parameters, activeParameters, flopsPerToken, memory, tensors }
  },
  async signal(config) {
    const { measureSignal, signalProblems } = await import('../train/signal.ts')
    const signal = await measureSignal(config)
    return { ...signal, problems: signalProblems(signal) }
  },
  async benchmark(config, options) {
    const { benchmark } = await import('../train/index.ts')
    return benchmark(config, options)
  },
  async study(specification, options) {
    const { study } = await import('../study/index.ts')
    return study(specification, options)
  },
  async report(specification, options) {
    const { reportOf } = await import('../study/index.ts')
    return reportOf(specification, options)
  },
  async plan(run, cluster) {
    const { plan } = await import('../plan/index.ts')
    return plan(run, cluster)
  },
  async planLocal(config, options) {
    const { planLocal } = await import('../plan/index.ts')
    return planLocal(config, options)
  },
  async whatIf(source, sets, cluster, question) {
    const { whatIf } = await import('../plan/index.ts')
    return whatIf(source, sets, cluster, question)
  },
  async writePlanReport(file, report) {
    const { writePlanReport } = await import('../plan/index.ts')
    return writePlanReport(file, report)
  },
  async validatePlanner() {
    const { validate } = await import('../plan/index.ts')
    return validate()
  },
  async watch(options) {
    const { startWatch } = await import('../watch/server.ts')
    return startWatch(options)
  },
  async measureMachine(config) {
    const { measureMachine } = await import('../train/index.ts')
    return measureMachine(config)
  },
}
