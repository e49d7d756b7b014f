/** A job of a study that trains: what it leaves in the directory of the run, and in its record. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import { runJob, type TrainJob } from './job.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-job-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test.each([
  ['reads a part of the held-out text, it reads that part after the last step too', 1],
  ['reads all held-out text, the evaluation of the study is the last', 0],
])(
  'if a run %s',
  async (_, evalBatches) => {
    const source = join(folder, 'text.txt')
    await writeFile(source, Array.from({ length: 2000 }, (_, i) => `the ${i % 17}th line of ${i}\n`).join(''))
    const config = runSchema.parse({
      data: { source, cache: join(folder, 'cache'), tokenizer: { kind: 'bytes' } },
      model: {
        layers: 1,
        width: 16,
        heads: 2,
        hidden: 16,
        sequence: 32,
        vocabulary: 257,
        moe: { experts: 2, hidden: 8 },
      },
      train: { batch: 4, steps: 6, evalEvery: 2, evalBatches, schedule: { warmup: 0 } },
      runtime: { threads: 1 },
    })
    const directory = join(folder, 'run')
    const facts = { key: 'k', arm: 'a', seed: 1, corpus: '', elsewhere: {}, specialise: false, trial: false }
    const job: TrainJob = { kind: 'train', config, directory, ...facts }
    const evaluationsIn = async () =>
      (await readFile(join(directory, 'metrics.jsonl'), 'utf8'))
        .split('\n')
        .flatMap((line) => (line === '' ? [] : (JSON.parse(line) as EvalRecord)))
        .filter(({ kind }) => kind === 'eval')
    const first = await runJob(job, new AbortController().signal, () => {})
    if (first.kind !== 'record') throw new Error(first.kind)
    const { heldOut, evaluations } = first.record
    const logged = await evaluationsIn()
    expect(logged.map(({ step }) => step)).toEqual([2, 4, 6])
    expect(new Set(logged.map(({ evaluated_tokens }) => evaluated_tokens)).size).toBe(1)
    expect(Object.keys(logged.at(-1) ?? {}).sort()).toEqual(Object.keys(logged[1] ?? {}).sort())
    if (evalBatches === 0) expect(logged.at(-1)).toMatchObject({ loss: heldOut.loss, tokens: 768 })
    else expect(heldOut.evaluated_tokens).toBeGreaterThan(logged.at(-1)?.evaluated_tokens ?? Infinity)
    expect(evaluations.map(({ step }) => step)).toEqual([2, 4, 6])
    // As after a study that was killed before it kept the result.
    const again = await runJob(job, new AbortController().signal, () => {})
    expect(again).toMatchObject({ kind: 'record', record: { heldOut, evaluations } })
    expect(await evaluationsIn()).toEqual(logged)
  },
  60_000,
)
