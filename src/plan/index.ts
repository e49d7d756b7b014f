/** Does a sparse model fit on a cluster, how fast is it, and in which layout. */
export type { Cluster } from './cluster.ts'
export { layoutName } from './layout.ts'
export { type Plan, plan } from './plan.ts'
export type { Prediction } from './predict.ts'
export { type PlanReport, writePlanReport } from './report.ts'
export type { PlannedRun } from './settings.ts'
export { type Validation, validate } from './validate.ts'
export { type WhatIf, whatIf } from './what-if.ts'
