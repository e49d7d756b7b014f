/**
 * Everything that commands call on the floors below, as one object that tests replace by a fake. Each method
 * imports its module when first called, so `choir --help` does not load ONNX Runtime.
 */
import type { RunConfig } from '../config/run-config.ts'
import type { EvaluateOptions } from '../infer/evaluate.ts'
import type { GenerateOptions } from '../infer/generate.ts'
import type { BenchmarkOptions, BenchmarkResult } from '../measure/benchmark.ts'
import type { Machine } from '../measure/machine.ts'
import type { Signal } from '../measure/signal.ts'
import type { Cluster } from '../plan/inputs/cluster.ts'
import type { PlannedRun } from '../plan/inputs/settings.ts'
import type { LocalOptions } from '../plan/local/plan-local.ts'
import type { Plan } from '../plan/plan.ts'
import type { PlanReport } from '../plan/report.ts'
import type { WhatIf } from '../plan/search/what-if.ts'
import type { Validation } from '../plan/validate.ts'
import type { EvalRecord } from '../step/records.ts'
import type { Specification } from '../study/grid/specification.ts'
import type { StudyOptions } from '../study/runs/run-study.ts'
import type { StudyOutcome } from '../study/study.ts'
import type { TrainSummary } from '../train/events.ts'
import type { TrainOptions } from '../train/train.ts'
import type { WatchOptions, WatchServer } from '../watch/http/server.ts'
import { stateMemory } from './state-memory.ts'

/** Size and cost of a model, as `inspect` shows them. */
export interface Description {
  readonly parameters: number
  readonly activeParameters: number
  /** Forward and backward. */
  readonly flopsPerToken: number
  /** The training state. */
  readonly memory: readonly { readonly name: string; readonly bytes: number }[]
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly parameters: number }[]
}

export interface SignalCheck extends Signal {
  /** Why the initialisation is not sound; empty if it is. */
  readonly problems: readonly string[]
}

export interface Operations {
  train(config: RunConfig, options: TrainOptions): Promise<TrainSummary>
  evaluateRun(directory: string, options: EvaluateOptions): Promise<EvalRecord>
  generate(directory: string, options: GenerateOptions): AsyncIterable<string>
  describe(config: RunConfig): Promise<Description>
  /** Measures activations and gradients of an untrained model, layer by layer. */
  signal(config: RunConfig): Promise<SignalCheck>
  /** Trains on random tokens in memory; writes nothing. */
  benchmark(config: RunConfig, options: BenchmarkOptions): Promise<BenchmarkResult>
  /** Runs the missing trainings of a study and writes its report. */
  study(specification: Specification, options: StudyOptions): Promise<StudyOutcome>
  /** Writes the report of the results so far. */
  report(specification: Specification, options: StudyOptions): Promise<StudyOutcome>
  /** Finds the fastest layouts of a run on a cluster. */
  plan(run: PlannedRun, cluster: Cluster): Promise<Plan>
  /** Memory and time of a run on this machine. Measures the machine if no measurement is stored. */
  planLocal(config: RunConfig, options: LocalOptions): Promise<Plan>
  /** Plans a run once for each value of one setting. */
  whatIf(source: string, sets: readonly string[], cluster: Cluster, question: string): Promise<WhatIf>
  writePlanReport(file: string, report: PlanReport): Promise<void>
  /** Compares predictions with published measurements. */
  validatePlanner(): Promise<Validation>
  /** Serves the dashboard. */
  watch(options: WatchOptions): Promise<WatchServer>
  /** Measures the matmul rate and memory bandwidth of this machine with the configured engine. */
  measureMachine(config: RunConfig): Promise<Machine>
}

export const operations: Operations = {
  async train(config, options) {
    const { train } = await import('../train/train.ts')
    return train(config, options)
  },
  async evaluateRun(directory, options) {
    const { evaluateRun } = await import('../infer/evaluate.ts')
    return evaluateRun(directory, options)
  },
  async *generate(directory, options) {
    const { generate } = await import('../infer/generate.ts')
    yield* generate(directory, options)
  },
  async describe(config) {
    const { describeModel } = await import('../model/describe.ts')
    const { parameters, activeParameters, flopsPerToken, tensors } = describeModel(config.model)
    const memory = stateMemory(config.train.optimizer.kind, tensors)
    return { parameters, activeParameters, flopsPerToken, memory, tensors }
  },
  async signal(config) {
    const { measureSignal, signalProblems } = await import('../measure/signal.ts')
    const signal = await measureSignal(config)
    return { ...signal, problems: signalProblems(signal) }
  },
  async benchmark(config, options) {
    const { benchmark } = await import('../measure/benchmark.ts')
    return benchmark(config, options)
  },
  async study(specification, options) {
    const { study } = await import('../study/study.ts')
    return study(specification, options)
  },
  async report(specification, options) {
    const { writeStudyReport: reportOf } = await import('../study/study.ts')
    return reportOf(specification, options)
  },
  async plan(run, cluster) {
    const { plan } = await import('../plan/plan.ts')
    return plan(run, cluster)
  },
  async planLocal(config, options) {
    const { planLocal } = await import('../plan/local/plan-local.ts')
    return planLocal(config, options)
  },
  async whatIf(source, sets, cluster, question) {
    const { whatIf } = await import('../plan/search/what-if.ts')
    return whatIf(source, sets, cluster, question)
  },
  async writePlanReport(file, report) {
    const { writePlanReport } = await import('../plan/report.ts')
    return writePlanReport(file, report)
  },
  async validatePlanner() {
    const { validate } = await import('../plan/validate.ts')
    return validate()
  },
  async watch(options) {
    const { startWatch } = await import('../watch/http/server.ts')
    return startWatch(options)
  },
  async measureMachine(config) {
    const { measureMachine } = await import('../measure/machine.ts')
    return measureMachine(config)
  },
}
