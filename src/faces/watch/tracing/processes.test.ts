/**
 * Model processes run the built JavaScript, so these tests need `npm run build`.
 *
 * @slow
 */
import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeAll, expect, test, vi } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { train } from '../../../node/train/train.ts'
import type { Question } from './messages.ts'
import { type ProcessLimits, TraceProcesses } from './processes.ts'

const { make } = temporaryFolder()
const text = { kind: 'trace', what: { text: 'the people' } } satisfies Question
const never = new AbortController().signal

let run: string
beforeAll(async () => {
  const folder = make()
  const source = join(folder, 'corpus.txt')
  const words = 'the people of the states and the union of peace and law\n\n'
  writeFileSync(source, Array.from({ length: 300 }, (_, i) => `${i} ${words}`).join(''))
  const config = runSchema.parse({
    model: { vocabulary: 257, layers: 1, width: 16, heads: 2, sequence: 16, moe: { hidden: 16, experts: 4 } },
    data: { source, tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache') },
    train: { steps: 2, batch: 2, evalEvery: 2, evalBatches: 1, checkpointEvery: 1 },
    runtime: { threads: 1 },
  })
  run = join(folder, 'run')
  await train(config, { directory: run, resume: false })
})

/** Copies the run. */
function copyRun(): string {
  const directory = join(make(), 'run')
  cpSync(run, directory, { recursive: true })
  return directory
}

const opened: TraceProcesses[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((processes) => processes.close()))
  vi.unstubAllEnvs()
  expect(pids()).toEqual([])
})

function open(limits: ProcessLimits = { live: 2, idle: 60_000 }, readable = [dirname(run)]): TraceProcesses {
  const processes = new TraceProcesses(readable, limits)
  opened.push(processes)
  return processes
}

/** Ids of the model processes that are alive. */
function pids(): number[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,args='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, state]) => Number(parent) === process.pid && !state?.startsWith('Z'))
    .filter((words) => words.some((word) => word.endsWith('trace-process.js')))
    .map(([pid]) => Number(pid))
}

test('one process answers all questions about a run, also concurrent ones', async () => {
  const processes = open()
  const [trace, documents, top, again] = await Promise.all([
    processes.ask(run, text, never),
    processes.ask(run, { kind: 'documents' }, never),
    processes.ask(run, { kind: 'top-tokens', place: { router: 0, expert: 0 } }, never),
    processes.ask(run, text, never),
  ])
  expect(trace).toMatchObject({ step: 2, cut: false })
  expect(again).toEqual(trace)
  expect(documents).toMatchObject({ documents: [{ index: 0 }] })
  expect(top).toMatchObject({ step: 2 })
  expect(pids()).toHaveLength(1)
})

test('one process traces with each checkpoint in turn, also after one that does not exist', async () => {
  const processes = open()
  const traceAt = (checkpoint: number) => processes.ask(run, { ...text, checkpoint }, never)
  const newest = await processes.ask(run, text, never)
  expect(await traceAt(1)).toMatchObject({ step: 1 })
  await expect(traceAt(7)).rejects.toThrow(/checkpoint/)
  expect(await traceAt(2)).toEqual(newest)
  expect(await processes.ask(run, { kind: 'sentence' }, never)).toEqual({
    title: expect.any(String),
    text: expect.stringMatching(
      /^(?=.{120,320}$)\d+ the people of the states and the union of peace and law \d+ the people/,
    ),
  })
  expect(pids()).toHaveLength(1)
})

test('a newer checkpoint gets a new process', async () => {
  const directory = copyRun()
  const processes = open()
  const newest = join(directory, 'checkpoints', 'step-00000002')
  renameSync(newest, join(directory, 'aside'))
  expect(await processes.ask(directory, text, never)).toMatchObject({ step: 1 })
  const [first] = pids()
  renameSync(join(directory, 'aside'), newest)
  expect(await processes.ask(directory, text, never)).toMatchObject({ step: 2 })
  await expect.poll(pids).toHaveLength(1)
  expect(pids()).not.toContain(first)
})

test('a recreated run gets a new process, even with a checkpoint of the same step', async () => {
  const directory = copyRun()
  const processes = open()
  await processes.ask(directory, text, never)
  const [first] = pids()
  rmSync(directory, { recursive: true })
  cpSync(run, directory, { recursive: true })
  expect(await processes.ask(directory, text, never)).toMatchObject({ step: 2 })
  await expect.poll(pids).toHaveLength(1)
  expect(pids()).not.toContain(first)
})

test('a checkpoint that is pruned during questions does no harm', async () => {
  const directory = copyRun()
  const processes = open()
  const [older, hidden] = ['step-00000001', '.step-00000001.removed'].map((name) =>
    join(directory, 'checkpoints', name),
  ) as [string, string]
  let isAsking = true
  const pruning = (async () => {
    while (isAsking)
      for (const [from, to] of [
        [older, hidden],
        [hidden, older],
      ] as [string, string][])
        await rename(from, to)
  })()
  try {
    for (let time = 0; time < 60; time++) expect(await processes.ask(directory, text, never)).toMatchObject({ step: 2 })
  } finally {
    isAsking = false
    await pruning
  }
})

test('beyond the limit the least recently used process ends', async () => {
  const processes = open({ live: 1, idle: 60_000 })
  await processes.ask(run, text, never)
  const [first] = pids()
  // A question that the process got before its end is answered first.
  const [again, other] = await Promise.all([processes.ask(run, text, never), processes.ask(copyRun(), text, never)])
  expect(again).toEqual(other)
  await expect.poll(pids).toHaveLength(1)
  expect(pids()).not.toContain(first)
})

test('an idle process ends, and the next question starts another', async () => {
  const processes = open({ live: 2, idle: 200 })
  const trace = await processes.ask(run, text, never)
  await expect.poll(pids).toEqual([])
  expect(await processes.ask(run, text, never)).toEqual(trace)
})

test('when a process is killed its question fails, and the next question starts another', async () => {
  const processes = open()
  const trace = await processes.ask(run, text, never)
  const [pid = 0] = pids()
  process.kill(pid, 'SIGSTOP')
  const asked = processes.ask(run, text, never)
  const answer = expect(asked).rejects.toMatchObject({
    status: 500,
    message: expect.stringContaining('killed by SIGKILL'),
  })
  await new Promise((resolve) => setTimeout(resolve, 50))
  process.kill(pid, 'SIGKILL')
  await answer
  expect(await processes.ask(run, text, never)).toEqual(trace)
})

test('an aborted question is not answered, and the process lives on', async () => {
  const processes = open()
  const controller = new AbortController()
  const first = processes.ask(run, text, never)
  const second = processes.ask(run, text, controller.signal)
  controller.abort()
  await expect(second).rejects.toThrow('aborted')
  const trace = await first
  expect(await processes.ask(run, text, never)).toEqual(trace)
  expect(pids()).toHaveLength(1)
})

test('a question during closing starts no process', async () => {
  const processes = open()
  const refused = expect(processes.ask(run, text, never)).rejects.toThrow('server is closing')
  await processes.close()
  await refused
  expect(pids()).toEqual([])
})

test('a question that the model cannot answer fails, and the process lives on', async () => {
  const processes = open()
  const unknown: Question = { kind: 'trace', what: { document: 1e6 } }
  await expect(processes.ask(run, unknown, never)).rejects.toMatchObject({ status: 404 })
  expect(await processes.ask(run, text, never)).toMatchObject({ step: 2 })
  expect(pids()).toHaveLength(1)
})

test('a run without a checkpoint starts no process', async () => {
  const processes = open()
  await expect(processes.ask(make(), text, never)).rejects.toMatchObject({
    status: 409,
    message: expect.stringContaining('no checkpoint yet'),
  })
  expect(pids()).toEqual([])
})

test('the text of a run is read only below the folders that the user named', async () => {
  const documents: Question = { kind: 'documents' }
  await expect(open(undefined, []).ask(run, documents, never)).rejects.toMatchObject({
    status: 409,
    message: expect.stringContaining('--data'),
  })
  const allowed = open(undefined, [dirname(run)])
  expect((await allowed.ask(run, documents, never)).documents.length).toBeGreaterThan(0)
})

test('scratch files of a process are removed however it ends, and cached tokens stay', async () => {
  const home = make()
  vi.stubEnv('XDG_CACHE_HOME', home)
  const kept = () => readdirSync(join(home, 'choir')).map((name) => name.split('-')[0])
  const processes = open()
  await processes.ask(run, { kind: 'documents' }, never)
  expect(kept()).toContain('.scratch')
  process.kill(pids()[0] as number, 'SIGKILL')
  await expect.poll(kept).toEqual(['tokens'])
  await processes.ask(run, { kind: 'documents' }, never)
  await processes.close()
  expect(kept()).toEqual(['tokens'])
})

test.each(['checkpoints', 'tokenizer.json', 'checkpoints/step-00000002/model.safetensors'])(
  '%s may be a link, but not to a place outside',
  async (name) => {
    const directory = copyRun()
    const elsewhere = join(make(), 'elsewhere')
    renameSync(join(directory, name), elsewhere)
    symlinkSync(elsewhere, join(directory, name))
    await expect(open().ask(directory, text, never)).rejects.toMatchObject({
      status: 409,
      message: expect.stringContaining('is a link that leads outside'),
    })
    expect(await open(undefined, [dirname(elsewhere)]).ask(directory, text, never)).toMatchObject({ step: 2 })
  },
)
