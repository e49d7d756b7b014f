/**
 * A worker that trains for a page: the other side of `TrainingWorker` in `choir/web`. A script that imports this module
 * becomes such a worker.
 *
 * @module choir/web/worker
 */
import type { Port } from '../browser/worker/messages.ts'
import { serveTraining } from '../browser/worker/serve.ts'

serveTraining(globalThis as unknown as Port)
