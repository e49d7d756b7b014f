/** Training, and using what was trained. */

export { measureBandwidth } from './bandwidth.ts'
export { type BenchmarkOptions, type BenchmarkResult, benchmark, type TimedStep, TrainingBench } from './benchmark.ts'
export { type EvaluateOptions, evaluateRun, type GenerateOptions, generate, type OnEvent } from './finished.ts'
export { type Engines, enginesOf, type Machine, measureMachine } from './machine.ts'
export type { CapacityEvaluation, EvalRecord, RoutingRecord, TrainEvent, TrainRecord, TrainSummary } from './metrics.ts'
export { measureProduct } from './peak.ts'
export {
  type OpenTracer,
  openRoutingTrace,
  openTracer,
  type RoutingTrace,
  type RoutingTraceOptions,
} from './routing-trace.ts'
export type { BatchTrace, RouterTrace } from './routing-tracer.ts'
export { openRuntime } from './session.ts'
export type { LayerCounts } from './statistics.ts'
export { JAVASCRIPT, type StepProfile } from './step-profile.ts'
export { type TrainOptions, train } from './train.ts'
export type { StepOutcome } from './trainer.ts'
export { type TrainingMemory, trainingMemory } from './training-memory.ts'
