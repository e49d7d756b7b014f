/**
 * A process that works on a fake study, for tests that kill it. Each job takes a moment, and is logged with the process
 * when it begins. Arguments: the folder of the study, its specification as JSON, and the milliseconds that a job takes
 * or the absolute path of a file that each job waits for.
 */
import { appendFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { RunJob } from '../runs/workers.ts'
import { study } from '../shown/study.ts'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, runWithLoss } from './fake-study.ts'

const [folder = '', input = '{}', wait = '0'] = process.argv.slice(2)
const fake = FakeStudy.at(folder)
const run: RunJob = async (job) => {
  const key = job.kind === 'train' ? job.key : 'timing'
  appendFileSync(join(folder, 'jobs.jsonl'), `${JSON.stringify({ key, pid: process.pid, at: Date.now() })}\n`)
  if (wait.startsWith('/')) while (!existsSync(wait)) await delay(20)
  else await delay(Number(wait))
  if (job.kind === 'time') return { kind: 'timing', stepMs: 10, engine: 'none' }
  if (job.kind === 'probe') return { kind: 'stopped' }
  return { kind: 'record', record: runWithLoss(job), specialisation: null }
}
const specification = fake.specification(JSON.parse(input) as SpecificationInput)
const onEvent = (event: object) => process.stdout.write(`${JSON.stringify(event)}\n`)
const { others } = await study(specification, fake.options({ jobs: 1, join: true, onEvent }), run)
process.stdout.write(`${JSON.stringify({ kind: 'summary', others })}\n`)
