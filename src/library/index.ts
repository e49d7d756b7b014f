/**
 * Choir as a library: sparse expert language models in a few calls.
 *
 * @example
 * ```ts
 * import { defineConfig, Run, train } from 'choir'
 *
 * const config = defineConfig({ preset: 'tiny', train: { steps: 200 } })
 * await train(config, {
 *   directory: 'runs/first',
 *   onEvent: (event) => event.kind === 'train' && console.log(event.step, event.loss),
 * })
 * const run = await Run.load('runs/first')
 * for await (const piece of run.generate('The state of')) process.stdout.write(piece)
 * await run.close()
 * ```
 *
 * What is exported here follows semantic versioning; nothing else in the package does.
 *
 * @module choir
 */

export type { Difference } from '../config/differences.ts'
export { type PresetName, presetNames } from '../config/presets.ts'
export type { RunConfig, RunInput, TrainConfig } from '../config/run-config.ts'
export type { DecodeStream, Tokenizer } from '../data/tokenizer/tokenizer.ts'
export { RunError, UsageError } from '../errors.ts'
export type { OurTensor } from '../exchange/architectures/ours.ts'
export { type ExportDtype, type ExportFormat, exportDtypes, exportFormats } from '../exchange/export/contract.ts'
export type { ExportOptions } from '../exchange/export/export.ts'
export type { ExportReport, HeldOutLoss, LogitCheck, Missing } from '../exchange/export/report.ts'
export type { ImportOptions } from '../exchange/import/import-model.ts'
export type { ImportReport, MappedTensor } from '../exchange/import/report.ts'
export type { Upcycling } from '../exchange/import/upcycle.ts'
export type { TextEnd } from '../infer/continue-text.ts'
export type { EvaluateOptions } from '../infer/evaluate.ts'
export type { SamplingOptions } from '../infer/generation/sampling.ts'
export type { RouterChoices, TextRouting } from '../infer/text-routing.ts'
export type { ModelChoice, RuntimeOverrides } from '../infer/trained-model.ts'
export type { WritingOptions } from '../infer/writing-options.ts'
export type { CeilingReport } from '../measure/ceiling.ts'
export type { StepProfile } from '../measure/step-profile.ts'
export type { ModelConfig } from '../model/config.ts'
export type { MoeConfig } from '../model/moe-config.ts'
export type { RoutedModule } from '../model/parameters.ts'
export type { CapacityRule } from '../model/routing/contract.ts'
export type { BytesByKind, Memory, MemoryKind } from '../plan/cost/memory.ts'
export type { Prediction } from '../plan/cost/predict.ts'
export type { SecondsByKind, Time, TimeKind } from '../plan/cost/time.ts'
export type { Cluster, ClusterInput } from '../plan/inputs/cluster.ts'
export type { Interval } from '../plan/inputs/intervals.ts'
export type { MeasuredTraffic, ModuleTraffic } from '../plan/inputs/measured-traffic.ts'
export type { PlannedRun, PlanSettings } from '../plan/inputs/settings.ts'
export type { Budget, Plan, Rejected } from '../plan/plan.ts'
export type { Change } from '../plan/search/changes.ts'
export type { Layout, Offload, Recompute } from '../plan/search/layout.ts'
export type { ParameterKind } from '../plan/work/parameter-counts.ts'
export type { OnMessage, RunMessage } from '../run/messages.ts'
export type { Origin } from '../run/origin.ts'
export type { WeightsOf } from '../run/weights-source.ts'
export type { Precision } from '../runtime/contract.ts'
export type { Engine } from '../runtime/engine.ts'
export type { Begun, Ranks, Transfer } from '../runtime/ranks.ts'
export type { NodeTime, StepEvent } from '../runtime/times.ts'
export type {
  CapacityEvaluation,
  DocumentLosses,
  DomainEvaluation,
  EvalRecord,
  RanksRecord,
  RoutingSummary,
  TrainRecord,
} from '../step/records.ts'
export type { LayerGates } from '../step/statistics.ts'
export type { RanksSummary, SlowRank, TrainEvent, TrainSummary } from '../train/events.ts'
export type { ClosableRanks, JoinOptions } from '../train/ranks.ts'
export type { TrainOptions } from '../train/train.ts'
export { type ConfigInput, defineConfig } from './config.ts'
export { configFrom } from './config-from.ts'
export { exportRun, importModel } from './exchange.ts'
export { type PlanInput, plan } from './plan.ts'
export * from './run.ts'
export { joinRanks, train } from './train.ts'
