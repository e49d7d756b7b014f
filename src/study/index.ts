/** Studies: grids of trainings, and reports on what they show. */
export type { StudyEvent } from './events.ts'
export type { StudyOptions } from './run-study.ts'
export type { Specification } from './specification.ts'
export { reportOf, type StudyOutcome, study } from './study.ts'
