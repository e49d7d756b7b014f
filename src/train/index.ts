/** Training, and using what was trained. */
export { type BenchmarkOptions, type BenchmarkResult, benchmark, TrainingBench } from './benchmark.ts'
export { type EvaluateOptions, evaluateRun, type GenerateOptions, generate } from './finished.ts'
export type { EvalRecord, RoutingRecord, TrainEvent, TrainRecord, TrainSummary } from './metrics.ts'
export { type TrainOptions, train } from './train.ts'
