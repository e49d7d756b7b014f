/** Training, and using what was trained. */
export { type BenchmarkOptions, type BenchmarkResult, benchmark, type TimedStep, TrainingBench } from './benchmark.ts'
export { type EvaluateOptions, evaluateRun, type GenerateOptions, generate, type OnEvent } from './finished.ts'
export { type Engines, type Machine, measureMachine } from './machine.ts'
export type { EvalRecord, RoutingRecord, TrainEvent, TrainRecord, TrainSummary } from './metrics.ts'
export type { LayerCounts } from './statistics.ts'
export { JAVASCRIPT, type StepProfile } from './step-profile.ts'
export { type TrainOptions, train } from './train.ts'
export type { StepOutcome } from './trainer.ts'
