/**
 * Reads a text column of a Parquet file in a thread. The decoder trusts the file, so damage can make it loop or fill
 * its memory. Then the thread is ended, and the file is refused.
 */
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { UsageError } from '../../../../core/errors.ts'
import { packageFile } from '../../../../core/package-file.ts'
import { Unreadable } from '../../../../train/data/sources/unreadable.ts'
import type { InputFile } from '../input-file.ts'
import type { Answer, Column } from './contract.ts'

/** Longest time for decoding a row group, in seconds; one second for each megabyte of the file is added. */
const PATIENCE = 10

interface Waiting {
  readonly signal?: AbortSignal | undefined
  readonly patience?: number
}

/** Yields the values of the column in row order. @throws UsageError if the file cannot be read or has changed */
export async function* parquetTexts(
  file: InputFile,
  column: string,
  waiting: Waiting = {},
): AsyncGenerator<string | null> {
  const reading = file.content?.reading()
  for await (const values of groupsOf(file, column, waiting)) yield* values
  await reading?.end()
}

/** Checks that a file is a Parquet file with the column. @throws Unreadable if it is not */
export async function checkParquet(file: InputFile, column: string, signal?: AbortSignal): Promise<void> {
  for await (const _ of groupsOf(file, column, { signal })) break
}

/** Yields an empty list once the column is found in the file, then the values of each row group. */
async function* groupsOf(
  file: InputFile,
  column: string,
  { signal, patience = PATIENCE }: Waiting,
): AsyncGenerator<readonly (string | null)[]> {
  const { path, name } = file
  const seconds = Math.ceil(patience + statSync(path).size / 1e6)
  const workerData: Column = { path, name, column }
  const worker = new Worker(packageFile('dist/node/data/sources/parquet/worker.js'), { workerData, execArgv: [] })
  try {
    for (;;) {
      const values = valuesOf(await answerOf(worker, seconds, signal), file)
      if (!values) return
      yield values
    }
  } finally {
    await worker.terminate()
  }
}

async function answerOf(worker: Worker, seconds: number, signal?: AbortSignal): Promise<Answer> {
  worker.postMessage(null)
  try {
    const timeout = AbortSignal.timeout(seconds * 1000)
    const [answer] = await once(worker, 'message', { signal: signal ? AbortSignal.any([signal, timeout]) : timeout })
    return answer
  } catch (error) {
    signal?.throwIfAborted()
    const { name, code, message } = error as NodeJS.ErrnoException
    if (name === 'AbortError') return { kind: 'damaged', message: `nothing could be read of it in ${seconds} s` }
    if (code === 'ERR_WORKER_OUT_OF_MEMORY')
      return { kind: 'damaged', message: 'what it says to hold fills the memory' }
    throw new Error(`internal: the reader of Parquet files: ${message}`, { cause: error })
  }
}

function valuesOf(answer: Answer, { name }: InputFile): readonly (string | null)[] | null {
  if (answer.kind === 'values') return answer.values
  if (answer.kind === 'damaged') {
    const message = answer.message ?? 'its contents contradict each other; it is damaged'
    throw new Unreadable('damaged', message, `data.source: ${name} cannot be read as Parquet: ${message}`)
  }
  const { message, columns } = answer
  throw columns === null ? new UsageError(message) : new Unreadable('records', columns, message)
}
