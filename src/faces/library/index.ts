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
 * The exports of `choir`, `choir/graph` and `choir/web` follow semantic versioning; nothing else in the package does.
 *
 * @module choir
 */

export type { Difference } from '../../core/config/differences.ts'
export { type PresetName, presetNames } from '../../core/config/presets.ts'
export type { RunConfig, RunInput, TrainConfig } from '../../core/config/run-config.ts'
export type { Option, Wording } from '../../core/errors.ts'
export { RunError, UsageError } from '../../core/errors.ts'
export type { MoeConfig, RoutedModule } from '../../core/model/config/moe-config.ts'
export type { ModelConfig } from '../../core/model/config.ts'
export type {
  LayerInput,
  LayerOutput,
  LayerParameter,
  LayerShape,
  OwnLayer,
} from '../../core/model/own/layer.ts'
export type {
  CapacityRule,
  Choice,
  Router,
  RouterInput,
  RouterLosses,
  RouterParameter,
  RouterShape,
} from '../../core/model/routing/contract.ts'
export type { OwnRouter } from '../../core/model/routing/own.ts'
export type { BalanceInput, OwnBalance } from '../../core/model/routing/own-balance.ts'
export type { LayerGates, RoutingSummary } from '../../core/model/routing/statistics.ts'
export type { PluginSettings } from '../../core/plugins.ts'
export type { RankIdentity } from '../../core/text/rank-name.ts'
export type { Engine } from '../../engine/contract/engine.ts'
export type { Begun, Ranks, Transfer } from '../../engine/contract/ranks.ts'
export type { Precision } from '../../engine/contract/runtime.ts'
export type { NodeTime, StepEvent } from '../../engine/contract/times.ts'
export type { RowFormat } from '../../node/routes/files.ts'
export type {
  RecordedDocument,
  RecordedRouter,
  Route,
  RoutedToken,
  RoutesHeader,
} from '../../node/routes/format.ts'
export type { RoutesRecord } from '../../node/routes/read-routes.ts'
export type { PluginKind, PluginOf } from '../../node/run/plugins/kinds.ts'
export { loadPlugin, usePlugin } from '../../node/run/plugins/plugins.ts'
export type { WeightsOf } from '../../node/run/weights-source.ts'
export type { ClosableRanks, JoinOptions } from '../../node/train/ranks.ts'
export type { Failures } from '../../tools/plan/cost/failures.ts'
export type { BytesByKind, Memory, MemoryKind } from '../../tools/plan/cost/memory.ts'
export type { Prediction } from '../../tools/plan/cost/predict.ts'
export type { ReceivedGradients } from '../../tools/plan/cost/step-end.ts'
export type { Time } from '../../tools/plan/cost/time.ts'
export type { SecondsByKind, TimeKind } from '../../tools/plan/cost/time-kinds.ts'
export type { Calibrated, Cluster, ClusterInput } from '../../tools/plan/inputs/cluster.ts'
export type { Interval } from '../../tools/plan/inputs/intervals.ts'
export type { Layout, Offload, Recompute } from '../../tools/plan/inputs/layout.ts'
export type { PlannedRun, PlanSettings } from '../../tools/plan/inputs/settings.ts'
export type { Budget, Plan, Rejected, ThroughOwners, UnevenLoads } from '../../tools/plan/plan.ts'
export type { Change } from '../../tools/plan/search/changes.ts'
export type { MeasuredTraffic, ModuleTraffic } from '../../tools/plan/work/measured-traffic.ts'
export type { ParameterKind } from '../../tools/plan/work/parameter-counts.ts'
export type { AtlasOptions } from '../../tools/routes/atlas/atlas.ts'
export type { Atlas, ExpertAtlas, Lift, RouterAtlas } from '../../tools/routes/atlas/contract.ts'
export type { RouterAgreement, RoutesComparison } from '../../tools/routes/compare.ts'
export type { RecordOptions } from '../../tools/routes/record-routes.ts'
export type { TextRules } from '../../train/data/tokenizer/text-rules.ts'
export type { DecodeStream, Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
export type { RanksSummary, SlowRank, TrainEvent, TrainSummary } from '../../train/loop/events.ts'
export type { CeilingReport } from '../../train/measure/mfu.ts'
export type { StepProfile } from '../../train/measure/step-profile.ts'
export type { OnMessage, RunMessage } from '../../train/run/messages.ts'
export type { Origin } from '../../train/run/origin.ts'
export type {
  CapacityEvaluation,
  DocumentLosses,
  DomainEvaluation,
  EvalRecord,
  RanksRecord,
  TrainRecord,
} from '../../train/step/metrics/records.ts'
export type {
  OptimizerInput,
  OptimizerParameter,
  OptimizerResult,
  OwnOptimizer,
  ParameterRole,
} from '../../train/step/optimizer/own.ts'
export type { OwnSchedule, ScheduleInput } from '../../train/step/optimizer/own-schedule.ts'
export type { OurTensor } from '../../use/foreign/architectures/ours.ts'
export type { TextEnd } from '../../use/infer/continue-text.ts'
export type { SamplingOptions } from '../../use/infer/generation/sampling.ts'
export type { JsonSchema } from '../../use/infer/json/schema.ts'
export type { Choices, Continued, Scorable, WholeText } from '../../use/infer/scoring/scorable.ts'
export type {
  ChoicesScore,
  ContinuationScore,
  ScoredToken,
  ScoreOf,
  ScoreOptions,
  TextScore,
} from '../../use/infer/scoring/score.ts'
export type { RouterChoices, TextRouting } from '../../use/infer/text-routing.ts'
export type { WritingOptions } from '../../use/infer/writing-options.ts'
export {
  type ExportDtype,
  type ExportFormat,
  exportDtypes,
  exportFormats,
} from '../../use/interchange/export/contract.ts'
export type { ExportOptions } from '../../use/interchange/export/export.ts'
export type { ExportReport, HeldOutLoss, LogitCheck, Missing } from '../../use/interchange/export/report.ts'
export type { ImportOptions } from '../../use/interchange/import/import-model.ts'
export {
  type ImportDtype,
  type ImportReport,
  importDtypes,
  type MappedTensor,
  type NamedToken,
} from '../../use/interchange/import/report.ts'
export type { Upcycling } from '../../use/interchange/import/upcycle.ts'
export type { ChatMessage } from '../../use/runs/chat/contract.ts'
export type { EvaluateOptions } from '../../use/runs/evaluate.ts'
export type { Prompt } from '../../use/runs/generate.ts'
export type { ModelChoice, RuntimeOverrides } from '../../use/runs/trained-model.ts'
export { type ConfigInput, defineConfig } from './config.ts'
export { configFrom } from './config-from.ts'
export { exportRun, importModel } from './interchange.ts'
export { type PlanInput, plan } from './plan.ts'
export { compareRoutes, readRoutes, writeAtlas, writeResponses } from './routes.ts'
export * from './run.ts'
export { joinRanks, type TrainOptions, train } from './train.ts'
