/**
 * Choir in a browser: trains, evaluates and uses a small model in the browser of a page's visitor, on its GPU. Nothing
 * is sent anywhere, and no module of Node is needed.
 *
 * @example In a worker of your own
 * ```ts
 * import { defineConfig, openBrowserRuntime, WebTraining } from 'choir/web'
 *
 * const runtime = await openBrowserRuntime()
 * const config = defineConfig({ preset: 'tiny', train: { steps: 200 } })
 * const training = await WebTraining.open({ config, text: { name: 'notes.txt', content }, runtime })
 * while (!training.isFinished) console.log((await training.step()).record.loss)
 * for await (const piece of training.generate('A note on')) console.log(piece)
 * const zip = await training.export() // a run directory, which `choir train --resume` continues
 * await training.close()
 * await runtime.close()
 * ```
 *
 * The exports of this module follow semantic versioning.
 *
 * @module choir/web
 */

export { type PresetName, presetNames } from '../../core/config/presets.ts'
export type { RunConfig, RunInput, TrainConfig } from '../../core/config/run-config.ts'
export { RunError, UsageError } from '../../core/errors.ts'
export type { RoutingRecord, RoutingSummary } from '../../core/model/routing/statistics.ts'
export { type Runtime, RuntimeError } from '../../engine/contract/runtime.ts'
export type { TextRules } from '../../train/data/tokenizer/text-rules.ts'
export type { DecodeStream, Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
export type { OnMessage, RunMessage } from '../../train/run/messages.ts'
export type { CapacityEvaluation, EvalRecord, TrainRecord } from '../../train/step/metrics/records.ts'
export type { TextEnd } from '../../use/infer/continue-text.ts'
export type { SamplingOptions } from '../../use/infer/generation/sampling.ts'
export type { JsonSchema } from '../../use/infer/json/schema.ts'
export type { RouterChoices, TextRouting } from '../../use/infer/text-routing.ts'
export type { WritingOptions } from '../../use/infer/writing-options.ts'
export { missingGpu, openBrowserRuntime } from '../browser/open-runtime.ts'
export type { OpenOptions, PrepareOptions, RestoreOptions, TrainingOptions } from '../browser/opening.ts'
export type { PageText, TextFile } from '../browser/page-text.ts'
export type { PreparedText } from '../browser/prepared-text.ts'
export { type RunTrainingOptions, runTraining, type TrainingEvent } from '../browser/run-training.ts'
export { browserStore, indexedDbStore } from '../browser/storage/indexed-db.ts'
export { opfsStore } from '../browser/storage/opfs.ts'
export { memoryStore, type RunStore, runStore, type SlotName, type Slots } from '../browser/storage/run-store.ts'
export { type StepRecords, WebTraining } from '../browser/web-training.ts'
export { TrainingWorker, type WorkerPort } from '../browser/worker/client.ts'
export type {
  ImportInput,
  OpenedTraining,
  OpenInput,
  Port,
  PrepareInput,
  ResumeInput,
} from '../browser/worker/messages.ts'
export { serveTraining } from '../browser/worker/serve.ts'
export type { Services } from '../browser/worker/session.ts'
export { type ConfigInput, defineConfig } from './config.ts'
